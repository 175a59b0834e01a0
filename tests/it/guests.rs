//! Templates for the test guest.

use std::fmt::Write as _;
use std::path::Path;

/// A template that installs the test guest. The directory is the home's working directory.
pub(crate) struct Template<'a> {
    pub(crate) iso: &'a Path,
    /// Further lines of answers.
    pub(crate) answers: &'a [&'a str],
    /// Further lines of the source block.
    pub(crate) source: &'a str,
    /// Lines of the build block.
    pub(crate) build: &'a str,
}

/// The password of every test guest; long enough to be redacted.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

impl Template<'_> {
    pub(crate) fn text(&self) -> String {
        let mut answers = format!("hostname=guest\\npassword={PASSWORD}\\n");
        for line in self.answers {
            let _ = write!(answers, "{line}\\n");
        }
        format!(
            r#"
variable "iso" {{
  type    = string
  default = "{iso}"
}}

source "qemu" "guest" {{
  iso_url      = var.iso
  iso_checksum = "none"
  accelerator  = "tcg"
  memory       = 256
  disk_size    = "256M"
  headless     = true
  boot_wait    = "6s"
  ssh_username = "root"
  shutdown_command = "poweroff"
  output_directory = "out"
  vm_name          = "guest"
  http_content     = {{ "/answers" = "{answers}" }}
  boot_command     = ["install answers=http://{{{{ .HTTPIP }}}}:{{{{ .HTTPPort }}}}/answers<enter>"]
  {source}
}}

build {{
  sources = ["source.qemu.guest"]
  {build}
}}
"#,
            iso = self.iso.display(),
            source = self.source,
            build = self.build,
        )
    }
}
