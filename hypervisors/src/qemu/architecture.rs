//! What the architecture of a guest's processor asks of a machine, where the template says nothing.

/// A guest's processor architecture, as far as machines differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// PCs.
    X86,
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
    /// Any other: nothing is chosen for it.
    Other,
}

impl Architecture {
    /// The architecture that `program` emulates: `qemu-system-aarch64`, `/opt/bin/qemu-system-x86_64-microvm`. Names that say nothing, as
    /// `kvm`, are of this host's.
    pub fn of_program(program: &str) -> Self {
        let name = program.rsplit('/').next().unwrap_or(program);
        let target = name.strip_prefix("qemu-system-").unwrap_or(std::env::consts::ARCH);
        match target.split('-').next().unwrap_or(target) {
            "x86_64" | "i386" | "x86" => Self::X86,
            "aarch64" => Self::Aarch64,
            "riscv64" => Self::Riscv64,
            _ => Self::Other,
        }
    }

    /// The machine type of a template that names none. ARM and RISC-V have no PCs; their `virt` is made for guests.
    pub fn default_machine(self) -> &'static str {
        match self {
            Self::X86 | Self::Other => "pc",
            Self::Aarch64 | Self::Riscv64 => "virt",
        }
    }

    /// The CPU model of a template that names none, where QEMU's own default is of no use: on ARM it has 32 bits.
    pub(super) fn default_cpu(self, accelerator: Option<&str>) -> Option<&'static str> {
        match (self, accelerator) {
            (Self::Aarch64, Some("kvm" | "hvf")) => Some("host"),
            (Self::Aarch64, _) => Some("cortex-a72"),
            _ => None,
        }
    }

    /// The TPM's device of a template that names none.
    pub(super) fn default_tpm_device(self) -> &'static str {
        match self {
            Self::X86 | Self::Other => "tpm-tis",
            // `tpm-tis` hangs on an ISA bus, which these have not.
            Self::Aarch64 | Self::Riscv64 => "tpm-tis-device",
        }
    }

    /// Tells whether the machine's own firmware reads `-boot`. UEFI and U-Boot look for something to boot by themselves.
    pub(super) fn heeds_boot_switch(self) -> bool {
        matches!(self, Self::X86 | Self::Other)
    }

    /// Tells whether QEMU may end at once, with status 0 and without an event, when the guest switches itself off: RISC-V's `virt` has a
    /// device that ends a QEMU before 9.0 so.
    pub(super) fn may_end_without_a_word(self) -> bool {
        self == Self::Riscv64
    }

    /// As firmware descriptors name it.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::X86 => Some("x86_64"),
            Self::Aarch64 => Some("aarch64"),
            Self::Riscv64 => Some("riscv64"),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_from_the_programs_name() {
        for (program, architecture) in [
            ("qemu-system-x86_64", Architecture::X86),
            ("/usr/bin/qemu-system-i386", Architecture::X86),
            ("qemu-system-x86_64-microvm", Architecture::X86),
            ("/opt/qemu-system-aarch64", Architecture::Aarch64),
            ("qemu-system-riscv64", Architecture::Riscv64),
            ("qemu-system-s390x", Architecture::Other),
        ] {
            assert_eq!(Architecture::of_program(program), architecture, "{program}");
        }
        let of_this_host = Architecture::of_program(&format!("qemu-system-{}", std::env::consts::ARCH));
        assert_eq!(Architecture::of_program("/usr/libexec/qemu-kvm"), of_this_host);
    }
}
