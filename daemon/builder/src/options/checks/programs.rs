//! Rules of programs that provisioners start on this machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kiln_template::Generated;

use crate::options::rule::Rule;
use crate::plan_reader::PlanReader;

/// What the ansible provisioner starts.
pub(crate) fn ansible(reader: &mut PlanReader<'_>) {
    let package = "install Ansible (Debian: ansible-core; or `pip install ansible-core`), or name its program in";
    is_there(reader, "command", &format!("{package} command"));
    if reader.text("galaxy_file").is_some() {
        is_there(reader, "galaxy_command", &format!("{package} galaxy_command"));
    }
}

/// Ansible plays for nobody, without an error, where its inventory is missing.
pub(crate) fn ansible_inventory(reader: &mut PlanReader<'_>) {
    if !reader.text("inventory_file").is_some_and(|hosts| hosts.contains(',')) {
        Rule::Exists("inventory_file").check(reader);
    }
}

/// Complains about a program that is not on this machine.
fn is_there(reader: &mut PlanReader<'_>, name: &str, hint: &str) {
    let program = reader.values().text(name).unwrap_or_default();
    if program.contains(Generated::UNKNOWN) || program.contains("{{") {
        return;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = if program.contains('/') {
        is_program(Path::new(&program))
    } else {
        std::env::split_paths(&path).any(|directory| is_program(&directory.join(&program)))
    };
    if !found {
        let detail = format!("{name} is {program:?}, which is no program of this machine.");
        reader.not_here(name, "No such program", detail, Some(hint.to_owned()));
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
