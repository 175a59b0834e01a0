//! What runs before the boot loader: which firmware a template gets, and the UEFI variables, which the guest may change.

use std::path::{Path, PathBuf};

use kiln_disk_formats::{ConvertOptions, Format, NoProgress, OpenPolicy, Output, OutputKind, convert, open};
use kiln_hypervisors::DiskFormat;
use kiln_hypervisors::qemu::{Architecture, FirmwareWish, UefiFirmware, UefiFirmwares};

use crate::blocking::blocking;
use crate::error::StepError;
use crate::option_values::OptionValues;
use crate::plan::{EfiPlan, FirmwarePlan, QemuPlan};

/// The UEFI variables' file in the output directory; Packer's name.
pub(crate) const EFI_VARS_NAME: &str = "efivars.fd";

/// Where Packer looks for UEFI firmware and the template of its variables.
const PACKERS_CODE: &str = "/usr/share/OVMF/OVMF_CODE.fd";
const PACKERS_VARS: &str = "/usr/share/OVMF/OVMF_VARS.fd";

/// U-Boot for RISC-V as Debian's package `u-boot-qemu` has it; QEMU's own OpenSBI runs it.
const RISCV_BOOT_LOADER: &str = "/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin";

/// Switches of a template that give the machine something to run without a firmware of ours, without their dashes.
const BOOTS_BY_ITSELF: [&str; 5] = ["bios", "kernel", "pflash", "drive", "blockdev"];

/// Switches that name a machine.
const NAMES_MACHINE: [&str; 2] = ["machine", "M"];

/// What the guest's code is for.
pub(crate) fn architecture(options: OptionValues<'_>) -> Architecture {
    Architecture::of_program(&options.text("qemu_binary").unwrap_or_default())
}

/// The machine type, where there is one to name. Of PCs only `q35` can keep its flash from the guest, which secure boot needs.
pub(super) fn machine_type(options: OptionValues<'_>) -> Option<String> {
    let given = options.given("machine_type").map(str::to_owned);
    let secure = options.flag("efi_secure_boot") && architecture(options) == Architecture::X86;
    given.or_else(|| secure.then(|| "q35".to_owned()))
}

/// The firmwares of this host, for a template that has use for them; else none.
pub(crate) fn of_this_host(options: OptionValues<'_>) -> UefiFirmwares {
    let used = asks_for_uefi(options) || needs_firmware(options);
    if used { UefiFirmwares::of_this_host() } else { UefiFirmwares::default() }
}

/// The firmware of a template. Where a template names none and the machine has none of its own, it is one of `firmwares`.
pub(crate) fn choose(options: OptionValues<'_>, firmwares: &UefiFirmwares) -> FirmwarePlan {
    if asks_for_uefi(options) {
        return FirmwarePlan::Efi(efi(options, firmwares));
    }
    match options.text("firmware") {
        Some(path) if options.flag("use_pflash") => FirmwarePlan::Flash(path.into()),
        Some(path) => FirmwarePlan::Bios(path.into()),
        None if needs_firmware(options) => match firmwares.find(wish(options, &machine(options))) {
            Some(found) => FirmwarePlan::Efi(whole(found, false)),
            None if architecture(options) == Architecture::Riscv64 => {
                FirmwarePlan::BootLoader(RISCV_BOOT_LOADER.into())
            }
            None => FirmwarePlan::Default,
        },
        None => FirmwarePlan::Default,
    }
}

fn asks_for_uefi(options: OptionValues<'_>) -> bool {
    let given = |name: &&str| options.given(name).is_some();
    ["efi_boot", "efi_secure_boot"].iter().any(|name| options.flag(name))
        || ["efi_firmware_code", "efi_firmware_vars"].iter().any(given)
}

/// Tells whether the machine has no firmware but what it is given: ARM's and RISC-V's `virt`, unless the template sees to it.
pub(crate) fn needs_firmware(options: OptionValues<'_>) -> bool {
    let machine = machine(options);
    matches!(architecture(options), Architecture::Aarch64 | Architecture::Riscv64)
        && (machine == "virt" || machine.starts_with("virt-"))
        && options.given("firmware").is_none()
        && !options.text_lists("qemuargs").iter().any(|argument| boots_by_itself(argument))
}

/// Whether an argument of the template gives such a machine something to run. QEMU takes `--switch` for `-switch`.
fn boots_by_itself(argument: &[String]) -> bool {
    let Some((switch, values)) = argument.split_first() else { return false };
    let switch = switch.trim_start_matches('-');
    // Of `-machine`, only another machine counts.
    BOOTS_BY_ITSELF.contains(&switch) || NAMES_MACHINE.contains(&switch) && !values.concat().contains("virt")
}

/// The machine type without what is added to it.
fn machine(options: OptionValues<'_>) -> String {
    let named = machine_type(options);
    let name = named.as_deref().unwrap_or_else(|| architecture(options).default_machine());
    name.split(',').next().unwrap_or_default().to_owned()
}

fn wish<'a>(options: OptionValues<'_>, machine: &'a str) -> FirmwareWish<'a> {
    FirmwareWish { architecture: architecture(options), machine, secure_boot: options.flag("efi_secure_boot") }
}

/// What a descriptor tells of the firmware of a template that asks for UEFI.
fn known(options: OptionValues<'_>, firmwares: &UefiFirmwares) -> Option<UefiFirmware> {
    match options.given("efi_firmware_code") {
        Some(code) => firmwares.of_code(Path::new(code)),
        None => firmwares.find(wish(options, &machine(options))),
    }
}

/// Why a machine would boot what is not signed although the template asks for secure boot, with the option to set right. Variables that
/// only the template knows of are taken to have keys.
pub(crate) fn secure_boot_gap(options: OptionValues<'_>, firmwares: &UefiFirmwares) -> Option<(&'static str, String)> {
    if !options.flag("efi_secure_boot") {
        return None;
    }
    let vars = options.given("efi_firmware_vars").map(Path::new);
    match (known(options, firmwares), options.given("efi_firmware_code")) {
        (None, None) => {
            let gap = "No firmware descriptor of this host names one that boots only what is signed, with keys enrolled, for this \
                       machine type.";
            Some(("efi_secure_boot", gap.to_owned()))
        }
        (Some(found), _) if !found.secure_boot => {
            let (code, descriptor) = (found.code.path.display(), found.descriptor.display());
            let gap = format!("{code} has no secure boot, as its descriptor {descriptor} tells: it boots anything.");
            Some(("efi_firmware_code", gap))
        }
        (Some(found), _) if !found.enrolled_keys && vars.is_none_or(|vars| vars == found.vars.path) => {
            let (vars, descriptor) = (found.vars.path.display(), found.descriptor.display());
            let gap =
                format!("No keys are enrolled in {vars}, as its descriptor {descriptor} tells: anything would boot.");
            Some(("efi_firmware_vars", gap))
        }
        (None, Some(code)) if vars.is_none() => {
            let gap = format!(
                "No firmware descriptor of this host tells which variables go with {code}, and {PACKERS_VARS} has no keys \
                 enrolled: anything would boot."
            );
            Some(("efi_firmware_vars", gap))
        }
        _ => None,
    }
}

/// The firmware of a template that asks for UEFI. What it names is taken as it is; what it leaves out is found by descriptors, and where
/// there are none, is where Packer looks.
fn efi(options: OptionValues<'_>, firmwares: &UefiFirmwares) -> EfiPlan {
    let secure_boot = options.flag("efi_secure_boot");
    let path = |name: &str| options.given(name).map(PathBuf::from);
    let (code, vars) = (path("efi_firmware_code"), path("efi_firmware_vars"));
    let known = known(options, firmwares).map(|found| whole(found, secure_boot));
    let is_qcow2 = |path: &Path| path.extension().is_some_and(|extension| extension == "qcow2");
    let unknown = EfiPlan {
        code_is_qcow2: code.as_deref().is_some_and(is_qcow2),
        code: PACKERS_CODE.into(),
        vars: PACKERS_VARS.into(),
        vars_is_qcow2: false,
        secure_boot,
        smm: secure_boot && architecture(options) == Architecture::X86,
    };
    let mut plan = known.unwrap_or(unknown);
    plan.code = code.unwrap_or(plan.code);
    if let Some(vars) = vars.filter(|vars| *vars != plan.vars) {
        plan.vars_is_qcow2 = is_qcow2(&vars);
        plan.vars = vars;
    }
    plan
}

fn whole(found: UefiFirmware, secure_boot: bool) -> EfiPlan {
    EfiPlan {
        code_is_qcow2: found.code.format == DiskFormat::Qcow2,
        code: found.code.path,
        vars_is_qcow2: found.vars.format == DiskFormat::Qcow2,
        vars: found.vars.path,
        secure_boot,
        smm: found.requires_smm,
    }
}

/// Where the UEFI variables of the machine are, when it has any.
pub(super) fn efi_vars(plan: &QemuPlan) -> Option<PathBuf> {
    matches!(plan.machine.firmware, FirmwarePlan::Efi(_)).then(|| plan.output_directory.join(EFI_VARS_NAME))
}

/// Copies the UEFI variables into the output directory, where the guest may change them. There they are raw, as in Packer.
pub(super) async fn copy_efi_vars(plan: &QemuPlan) -> Result<(), StepError> {
    let (FirmwarePlan::Efi(efi), Some(target)) = (&plan.machine.firmware, efi_vars(plan)) else {
        return Ok(());
    };
    let vars = efi.vars.clone();
    super::disks::remove(&target)?;
    if !efi.vars_is_qcow2 {
        return copy_writable(&vars, &target).await.map_err(|error| {
            StepError::new(format!("cannot copy {} to {}", vars.display(), target.display())).with_source(error)
        });
    }
    blocking("copying the UEFI variables", move |_| {
        let reader = open(&vars, Some(Format::Qcow2), &OpenPolicy::deny())?;
        let mut options = ConvertOptions::default();
        options.overwrite = true;
        options.content_digest = false;
        options.file_digests = false;
        convert(&*reader, &[Output::new(&target, OutputKind::Raw)], &options, &NoProgress)?;
        Ok::<_, StepError>(())
    })
    .await
}

/// The copy may be written to by its owner, whatever the original is: firmware often lies in read-only stores.
async fn copy_writable(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    tokio::fs::copy(from, to).await?;
    let mode = tokio::fs::metadata(to).await?.permissions().mode();
    tokio::fs::set_permissions(to, std::fs::Permissions::from_mode(mode | 0o600)).await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_switch_that_boots_is_known_by_any_of_its_names() {
        for (argument, boots) in [
            (&["-bios", "fw.fd"][..], true),
            (&["--bios", "fw.fd"], true),
            (&["--kernel", "vmlinuz"], true),
            (&["-drive", "if=pflash,file=fw.fd"], true),
            (&["-M", "raspi3b"], true),
            (&["--machine", "raspi3b"], true),
            (&["-M", "virt,gic-version=3"], false),
            (&["-machine", "type=virt,", "accel=tcg"], false),
            (&["-m", "1024M"], false),
            (&[], false),
        ] {
            let argument: Vec<String> = argument.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(boots_by_itself(&argument), boots, "{argument:?}");
        }
    }

    #[tokio::test]
    async fn variables_of_a_read_only_store_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("store"), directory.path().join("own"));
        std::fs::write(&from, "vars").unwrap();
        std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o444)).unwrap();
        copy_writable(&from, &to).await.unwrap();
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read(&to).unwrap(), b"vars");
    }
}
