//! The inventory: the guest's line, and the groups it is in.

use std::path::{Path, PathBuf};

use crate::context::BuildContext;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;
use crate::temporary_file::TemporaryFile;

const LINE: &str = "{{ .HostAlias }} ansible_host={{ .Host }} ansible_user={{ .User }} ansible_port={{ .Port }}\n";

/// Ansible before 2 calls the same variables otherwise.
const OLD_LINE: &str =
    "{{ .HostAlias }} ansible_ssh_host={{ .Host }} ansible_ssh_user={{ .User }} ansible_ssh_port={{ .Port }}\n";

/// What Ansible connects to.
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// The file with the key that opens it.
    pub(super) key: Option<PathBuf>,
}

/// The text of the inventory.
pub(super) fn text(
    options: OptionValues<'_>,
    renderer: &Renderer,
    target: &Target,
    major: u32,
) -> Result<String, StepError> {
    let default = if major < 2 { OLD_LINE } else { LINE };
    let template = options.given("inventory_file_template").unwrap_or(default);
    let alias = options.text("host_alias").unwrap_or_default();
    let port = target.port.to_string();
    let fields = [
        ("HostAlias", alias.as_str()),
        ("Host", target.host.as_str()),
        ("User", target.user.as_str()),
        ("Port", port.as_str()),
        ("ConnType", "ssh"),
    ];
    let line = renderer.render(template, &fields)?;
    let groups = options.texts("groups").into_iter().map(|group| format!("[{group}]\n{line}"));
    let empty = options.texts("empty_groups").into_iter().map(|group| format!("[{group}]\n"));
    Ok(std::iter::once(line.clone()).chain(groups).chain(empty).collect())
}

/// The inventory that is used: the template's own, or one that is made, which goes when this is dropped.
pub(super) struct Inventory<'a> {
    pub(super) path: PathBuf,
    made: Option<TemporaryFile<'a>>,
}

impl<'a> Inventory<'a> {
    pub(super) fn new(
        build: &'a BuildContext,
        options: OptionValues<'_>,
        text: impl FnOnce() -> Result<String, StepError>,
    ) -> Result<Self, StepError> {
        let directory = options.given("inventory_directory").map(Path::new);
        if let Some(file) = options.given("inventory_file") {
            return Ok(Self { path: directory.map_or_else(|| file.into(), Path::to_owned), made: None });
        }
        let made = TemporaryFile::new(build, directory, ("packer-provisioner-ansible", ""), 0o600, text()?.as_bytes());
        let made = made.map_err(|error| StepError::new("cannot write Ansible's inventory").with_source(error))?;
        let path = directory.unwrap_or(made.path()).to_owned();
        Ok(Self { path, made: Some(made) })
    }

    /// Leaves the file that was made; returns where it is.
    pub(super) fn keep(self) -> Option<PathBuf> {
        self.made.map(TemporaryFile::keep)
    }
}
