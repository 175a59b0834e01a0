//! What a QEMU program calls what it has: machines, processors, devices, displays. Each program has others, by its version and by how it was
//! built, so it is asked; what it does not tell stays an empty list, of which nothing can be said.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use qapi_qmp::{human_monitor_command, qom_list_types, query_machines};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::run_tool;
use crate::qemu::qmp::QmpClient;

/// What there is, by name; a list is empty when the program did not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::qemu) struct Names {
    /// For `-machine`, with their short names (`q35`).
    pub(in crate::qemu) machines: Vec<String>,
    /// For `-cpu`.
    pub(in crate::qemu) processors: Vec<String>,
    /// For `-device`, with their short names (`virtio-net`).
    pub(in crate::qemu) devices: Vec<String>,
    /// Those of `devices` that are network adapters.
    pub(in crate::qemu) adapters: Vec<String>,
    /// For `-vga`.
    pub(in crate::qemu) screens: Vec<String>,
    /// For `-display`.
    pub(in crate::qemu) displays: Vec<String>,
}

/// The words above the network adapters in QEMU's list of devices.
const ADAPTERS: &str = "Network devices:";

impl Names {
    /// Asks a program, and its monitor, for all of them: no longer than `limit`.
    pub(super) async fn ask(program: &Path, qmp: &QmpClient, limit: Duration) -> Self {
        let machines = async {
            let answer = qmp.run_within(query_machines { compat_props: None }, limit).await;
            machines(&answer.unwrap_or_default())
        };
        let processors = async {
            let command = qom_list_types { abstract_: Some(false), implements: Some("cpu".to_owned()) };
            processors(&qmp.run_within(command, limit).await.unwrap_or_default())
        };
        let devices = async {
            // The list for programs has no short names and does not tell which are network adapters.
            let command = human_monitor_command { cpu_index: None, command_line: "device_add help".to_owned() };
            devices(qmp.run_within(command, limit).await.unwrap_or_default().as_str().unwrap_or_default())
        };
        let help = |switch: &'static str| async move {
            let arguments = ["-machine", "none", switch, "help"].map(OsString::from).to_vec();
            run_tool(program, arguments, limit).await.map(|said| said.stdout).unwrap_or_default()
        };
        let (machines, processors, (devices, adapters), screens, displays) =
            tokio::join!(machines, processors, devices, help("-vga"), help("-display"));
        let (screens, displays) = (described(&screens), alone(&displays));
        Self { machines, processors, devices, adapters, screens, displays }
    }
}

/// Reads `[{"name": "pc-q35-7.2", "alias": "q35", …}, …]`.
fn machines(answer: &Value) -> Vec<String> {
    let names = |one: &Value| ["name", "alias"].map(|key| one[key].as_str().map(ToOwned::to_owned));
    answer.as_array().into_iter().flatten().flat_map(names).flatten().collect()
}

/// Reads `[{"name": "cortex-a72-arm-cpu", …}, …]`: each name is followed by what they all end in.
fn processors(answer: &Value) -> Vec<String> {
    let types: Vec<&str> = answer.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    let Some(first) = types.first() else { return Vec::new() };
    let endings = first.match_indices('-').map(|(at, _)| &first[at..]);
    // The longest one, and at least `-arm-cpu`.
    let ending =
        endings.filter(|it| it.matches('-').count() == 2).find(|it| types.iter().all(|name| name.ends_with(it)));
    let model = |name: &&str| Some(name.strip_suffix(ending?)?.to_owned());
    types.iter().filter_map(model).collect()
}

/// Reads lines like `name "virtio-net-pci", bus PCI, alias "virtio-net"` under lines like `Network devices:`. The adapters are the second list.
fn devices(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut all, mut adapters, mut heading) = (Vec::new(), Vec::new(), "");
    for line in text.lines().map(str::trim) {
        if line.ends_with(':') {
            heading = line;
        }
        if !line.starts_with("name \"") {
            continue;
        }
        let names = ["name", "alias"].into_iter().filter_map(|word| quoted(line, word));
        all.extend(names.clone().map(ToOwned::to_owned));
        if heading == ADAPTERS {
            adapters.extend(names.map(ToOwned::to_owned));
        }
    }
    (all, adapters)
}

/// The quoted text after `word`.
fn quoted<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let part = line.split(", ").find_map(|part| part.strip_prefix(word)?.strip_prefix(" \""))?;
    part.strip_suffix('"')
}

/// Reads lines like `std     standard VGA`.
fn described(text: &str) -> Vec<String> {
    let name = |line: &str| line.split_once("  ").map(|(name, _)| name.to_owned());
    text.lines().filter_map(name).filter(|name| !name.is_empty() && !name.contains(' ')).collect()
}

/// Reads lines of one word.
fn alone(text: &str) -> Vec<String> {
    let is_one = |line: &&str| !line.is_empty() && !line.contains(' ');
    text.lines().map(str::trim_end).filter(is_one).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn machines_have_short_names() {
        let answer = json!([{ "name": "pc-q35-7.2", "alias": "q35", "cpu-max": 288 }, { "name": "none" }, 7]);
        assert_eq!(machines(&answer), ["pc-q35-7.2", "q35", "none"]);
        assert_eq!(machines(&Value::Null), Vec::<String>::new());
    }

    #[test]
    fn processors_lose_what_they_all_end_in() {
        let of = |names: &[&str]| {
            let all: Vec<Value> = names.iter().map(|name| json!({ "name": name, "parent": "x" })).collect();
            processors(&all.into())
        };
        assert_eq!(of(&["max-x86_64-cpu", "Skylake-Client-v1-x86_64-cpu"]), ["max", "Skylake-Client-v1"]);
        assert_eq!(of(&["cortex-a72-arm-cpu", "max-arm-cpu"]), ["cortex-a72", "max"]);
        assert_eq!(of(&["sifive-u54-riscv-cpu", "any-riscv-cpu"]), ["sifive-u54", "any"]);
        assert_eq!(of(&["max-x86_64-cpu", "something-else"]), Vec::<String>::new(), "nothing is known then");
        assert_eq!(of(&[]), Vec::<String>::new());
    }

    #[test]
    fn devices_have_short_names_and_kinds() {
        let text = "Storage devices:\r\nname \"ich9-ahci\", bus PCI, alias \"ahci\"\r\nname \"sd-card\", bus sd-bus\r\n\r\n\
                    Network devices:\r\nname \"e1000\", bus PCI, alias \"e1000-82540em\", desc \"Intel, \"fast\"\"\r\n\r\n\
                    Misc devices:\r\nname \"tpm-tis\", bus ISA\r\n";
        let (all, adapters) = devices(text);
        assert_eq!(all, ["ich9-ahci", "ahci", "sd-card", "e1000", "e1000-82540em", "tpm-tis"]);
        assert_eq!(adapters, ["e1000", "e1000-82540em"]);
        assert_eq!(devices("unknown command: 'device_add'"), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_help_says() {
        let text = "none                 no graphic card\nstd                  standard VGA (default)\n";
        assert_eq!(described(text), ["none", "std"]);
        let text = "Available display backend types:\nnone\negl-headless\n\nSome display backends support suboptions\n";
        assert_eq!(alone(text), ["none", "egl-headless"]);
        assert_eq!((described(""), alone("")), (Vec::new(), Vec::new()));
    }
}
