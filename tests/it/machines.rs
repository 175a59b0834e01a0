//! Machines of every kind on a real QEMU: UEFI and its variables, secure boot, a guest of another architecture, and many at once.
//! Most of their guests are a few bytes or a script of the UEFI shell: what is under test is the machine.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use kiln_tests::{Home, installer, tool};

use crate::guest_disks::{fat_disk, firmware, succeed};
use crate::guests::{PASSWORD, Template};

/// What is the same for all sources here.
const SOURCE: &str = r#"
  iso_checksum     = "none"
  disk_image       = true
  skip_resize_disk = true
  accelerator      = "tcg"
  communicator     = "none"
  headless         = true
  format           = "raw"
  memory           = 256
  shutdown_timeout = "4m"
"#;

/// A card for which UEFI has no driver, so that it does not look for something to boot on the network first.
const NETWORK: &str = "net_device = \"tulip\"";

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The shell writes a file and switches the machine off. On ARM, nothing is chosen by the template but the program.
#[test]
fn uefi_guests_of_both_architectures_boot_and_keep_their_variables() {
    let tools = ["mformat", "mcopy", "mtype", "qemu-system-x86_64", "qemu-system-aarch64"];
    if !tools.iter().all(|name| tool(name))
        || !firmware("/usr/share/AAVMF/AAVMF_CODE.fd")
        || !firmware("/usr/share/OVMF/OVMF_CODE_4M.fd")
    {
        return;
    }
    let home = Home::new();
    let script = b"fs0:\r\necho shell-was-here >a hello.txt\r\nreset -s\r\n";
    fat_disk(&home, "disk.img", &[("startup.nsh", script)]);
    let source = |name: &str, options: &str| {
        format!(
            "source \"qemu\" {name:?} {{\n{SOURCE}\n{NETWORK}\niso_url = \"disk.img\"\nvm_name = \"disk\"\n{options}\n}}\n"
        )
    };
    let arm = source("arm", "qemu_binary = \"qemu-system-aarch64\"\nqmp_enable = true");
    let pc = source("pc", "efi_boot = true\nefi_drop_efivars = true");
    let manifest = "post-processor \"manifest\" {\n output = \"manifest.json\"\n}";
    let build = format!("build {{\n sources = [\"qemu.arm\", \"qemu.pc\"]\n{manifest}\n}}\n");
    home.write("machines.pkr.hcl", &format!("{arm}{pc}{build}"));
    let ran = home.kiln(["build", "-color=false", "machines.pkr.hcl"]).expect(0);
    assert!(ran.stdout.contains("Other programs may speak QMP on output-arm/disk.monitor"), "{}", ran.stdout);

    let manifest = std::fs::read_to_string(home.work("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let builds = manifest["builds"].as_array().unwrap();
    for (name, template) in [("arm", "/usr/share/AAVMF/AAVMF_VARS.fd"), ("pc", "/usr/share/OVMF/OVMF_VARS_4M.fd")] {
        let directory = home.work(&format!("output-{name}"));
        let hello = succeed(Command::new("mtype").arg("-i").arg(directory.join("disk")).arg("::/hello.txt"));
        assert_eq!(hello.trim(), "shell-was-here", "{name}");
        let (kept, template) = (std::fs::read(directory.join("efivars.fd")).unwrap(), std::fs::read(template).unwrap());
        assert_eq!(kept.len(), template.len(), "{name}");
        assert!(contains(&kept, &utf16("BootOrder")) && !contains(&template, &utf16("BootOrder")), "{name}");
        let build = builds.iter().find(|build| build["name"] == name).unwrap();
        assert_eq!(build["files"].to_string().contains("efivars.fd"), name == "arm", "{build}");
        assert!(!directory.join("disk.monitor").exists());
    }
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}

/// A UEFI program that nobody has signed; it switches a PC off.
fn unsigned_program() -> Vec<u8> {
    let mut image = vec![0_u8; 0x400];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    // COFF: x86-64, one section, an optional header of 0xf0 bytes.
    put(0x40, b"PE\0\0");
    put(0x44, &[0x64, 0x86, 1, 0]);
    put(0x54, &[0xf0, 0, 0x22, 0]);
    // PE32+: entry and code at 0x1000, pages of 0x1000, file blocks of 0x200, two pages in all, a UEFI application.
    let header = 0x58;
    put(header, &0x20b_u16.to_le_bytes());
    for (at, value) in
        [(4, 0x200_u32), (16, 0x1000), (20, 0x1000), (32, 0x1000), (36, 0x200), (56, 0x2000), (60, 0x200)]
    {
        put(header + at, &value.to_le_bytes());
    }
    put(header + 68, &10_u16.to_le_bytes());
    put(header + 108, &16_u32.to_le_bytes());
    let section = header + 0xf0;
    put(section, b".text");
    for (at, value) in [(8, 0x200_u32), (12, 0x1000), (16, 0x200), (20, 0x200), (36, 0x6000_0020)] {
        put(section + at, &value.to_le_bytes());
    }
    // mov dx, 0x604; mov ax, 0x2000; out dx, ax: into ACPI's S5, where OVMF has put the power management's ports.
    put(0x200, &[0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4, 0xeb, 0xfd]);
    image
}

#[test]
fn secure_boot_refuses_what_is_not_signed_and_the_same_guest_boots_without() {
    if !["mformat", "mcopy", "mmd", "qemu-system-x86_64"].iter().all(|name| tool(name))
        || !firmware("/usr/share/OVMF/OVMF_CODE_4M.ms.fd")
    {
        return;
    }
    let home = Home::new();
    fat_disk(&home, "disk.img", &[("EFI/BOOT/BOOTX64.EFI", &unsigned_program())]);
    let template = |options: &str| {
        format!(
            "source \"qemu\" \"guest\" {{\n{SOURCE}\n{NETWORK}\niso_url = \"disk.img\"\n{options}\n}}\n\
             build {{\n sources = [\"qemu.guest\"]\n}}\n"
        )
    };
    let plain = "efi_boot = true\nmachine_type = \"q35\"\noutput_directory = \"plain\"";
    home.write("plain.pkr.hcl", &template(plain));
    home.kiln(["build", "-color=false", "plain.pkr.hcl"]).expect(0);

    let log = home.work("serial.log");
    let secure = format!(
        "efi_secure_boot = true\noutput_directory = \"secure\"\nqemuargs = [[\"-serial\", \"file:{}\"]]",
        log.display()
    );
    home.write("secure.pkr.hcl", &template(&secure));
    let running = home.start(["build", "-color=false", "secure.pkr.hcl"]);
    let refused = home.wait_for("the firmware's refusal", Duration::from_secs(120), || {
        let text = String::from_utf8_lossy(&std::fs::read(&log).ok()?).into_owned();
        ["Access Denied", "Security Violation"].iter().any(|words| text.contains(words)).then_some(text)
    });
    assert!(refused.contains("failed to load Boot"), "{refused}");
    running.signal(rustix::process::Signal::INT);
    let ran = running.wait();
    assert_ne!(ran.code(), 0);
    assert!(ran.stdout.contains("Command line: ") && ran.stdout.contains("smm=on"), "{}", ran.stdout);
    assert!(!home.work("secure").exists());
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}

/// How many builds run at once.
const EIGHT: usize = 8;

/// Builds that run in each of the jobs.
const IN_EACH: usize = 2;

/// Two builds of the test guest in each of four jobs of one daemon: all are reached by SSH through forwarded ports at one moment, and nothing
/// that they share on the host collides, though all ask for the same.
#[test]
fn eight_builds_at_once_finish_with_nothing_left_behind() {
    let Some(iso) = installer() else { return };
    if !tool("qemu-system-x86_64") {
        return;
    }
    let home = Home::new();
    let password = format!("ssh_password = \"{PASSWORD}\"");
    home.write("base.pkr.hcl", &Template { iso: &iso, answers: &[], source: &password, build: "" }.text());
    home.kiln(["build", "-color=false", "base.pkr.hcl"]).expect(0);
    home.kiln(["daemon", "stop"]).expect(0);

    home.write("answers", "hello\n");
    let mut running = Vec::new();
    for job in 0..EIGHT / IN_EACH {
        let numbers = || (1..=IN_EACH).map(|number| job * IN_EACH + number);
        let mut template = String::new();
        for number in numbers() {
            let options = format!(
                "iso_url = \"out/guest\"\nuse_backing_file = true\nvm_name = \"same\"\noutput_directory = \"out{number}\"\n\
                 memory = 160\ndisk_additional_size = [\"8M\"]\ncd_files = [\"answers\"]\nfloppy_files = [\"answers\"]\n\
                 http_content = {{ \"/a\" = \"b\" }}\nvnc_bind_address = \"127.0.0.1\"\nqmp_enable = true\n\
                 boot_wait = \"-1s\"\nssh_username = \"root\"\n{password}\nssh_timeout = \"5m\"\nshutdown_command = \"poweroff\""
            );
            let source =
                SOURCE.replace("  memory           = 256\n", "").replace("  communicator     = \"none\"\n", "");
            let source = source.replace("\"raw\"", "\"qcow2\"");
            template += &format!("source \"qemu\" \"g{number}\" {{\n{source}\n{options}\n}}\n");
        }
        let sources: Vec<String> = numbers().map(|number| format!("\"qemu.g{number}\"")).collect();
        // None goes on before all are there.
        template += &format!(
            "build {{\n sources = [{}]\n provisioner \"shell\" {{\n inline = [\"echo I am ${{source.name}} > /root/who\"]\n }}\n \
             provisioner \"shell-local\" {{\n inline = [\"echo by SSH at ${{build.Host}}:${{build.Port}}\", \"touch up-${{source.name}}\", \
             \"timeout 300 sh -c 'until [ $(ls up-g* | wc -l) = {EIGHT} ]; do sleep 0.2; done'\"]\n }}\n \
             provisioner \"shell\" {{\n inline = [\"cat /root/who\"]\n }}\n}}\n",
            sources.join(", ")
        );
        let name = format!("job{job}.pkr.hcl");
        home.write(&name, &template);
        let mut command = home.command("kiln");
        // A person may run half as many jobs as the daemon.
        command.args(["build", "-color=false", &name]).env("KILN_MAX_JOBS", EIGHT.to_string());
        running.push(home.start_command(command));
        if job == 0 {
            // The first starts the daemon, with that setting.
            home.wait_for("the daemon", Duration::from_secs(60), || home.daemon_pid());
        }
    }
    let mut text = String::new();
    for one in running {
        text += &one.wait().expect(0).stdout;
    }
    let told = |words: &str, end: char| -> BTreeSet<&str> {
        let rests = text.match_indices(words).map(|(at, _)| &text[at + words.len()..]);
        rests.filter_map(|rest| rest.split([end, '\n']).next()).collect()
    };
    assert_eq!(told("Starting HTTP server on port ", '\n').len(), EIGHT, "{text}");
    assert_eq!(told("with a VNC viewer at ", '\n').len(), EIGHT, "{text}");
    assert_eq!(told(": by SSH at 127.0.0.1:", '\n').len(), EIGHT, "each has a port of the host's of its own: {text}");
    assert_eq!(told("Other programs may speak QMP on ", '\n').len(), EIGHT, "{text}");
    // Each was the guest that its build meant.
    for number in 1..=EIGHT {
        assert!(text.contains(&format!("==> qemu.g{number}: I am g{number}\n")), "{number}: {text}");
        let mut left: Vec<String> = std::fs::read_dir(home.work(&format!("out{number}")))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        assert_eq!(left, ["same", "same-1"]);
    }
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}
