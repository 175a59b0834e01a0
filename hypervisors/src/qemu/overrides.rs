//! Packer's `qemuargs`: switches of the template that replace the default ones.

use std::collections::BTreeSet;

/// The template's switches.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    switches: Vec<(String, Option<String>)>,
    names: BTreeSet<String>,
}

impl Overrides {
    /// From a list of lists: each a switch, and values that are joined without anything between them; no or empty values make a bare switch.
    pub(crate) fn new(arguments: &[Vec<String>]) -> Self {
        let mut overrides = Self::default();
        for argument in arguments {
            let Some((switch, values)) = argument.split_first() else { continue };
            if switch.is_empty() {
                continue;
            }
            let value = values.concat();
            overrides.names.insert(canonical(switch));
            overrides.switches.push((switch.clone(), (!value.is_empty()).then_some(value)));
        }
        overrides
    }

    /// Tells whether the template gives `switch`, and so replaces its defaults.
    pub(crate) fn has(&self, switch: &str) -> bool {
        self.names.contains(&canonical(switch))
    }

    /// The accelerator that the template's switches ask for, if they do.
    pub(crate) fn accelerator(&self) -> Option<String> {
        self.switches.iter().find_map(|(switch, value)| {
            let value = value.as_deref().unwrap_or_default();
            match canonical(switch).as_str() {
                "-enable-kvm" => Some("kvm".to_owned()),
                "-no-kvm" => Some("tcg".to_owned()),
                "-accel" => Some(first(value.strip_prefix("accel=").unwrap_or(value))),
                "-machine" | "-M" => accelerator_of_machine(value),
                _ => None,
            }
        })
    }

    /// The machine type that the template's switches name, if they do.
    pub(crate) fn machine(&self) -> Option<String> {
        self.switches.iter().rev().find_map(|(switch, value)| {
            let value = value.as_deref().filter(|_| matches!(canonical(switch).as_str(), "-machine" | "-M"))?;
            let first = value.split(',').next().unwrap_or_default();
            let name = value.split(',').find_map(|part| part.strip_prefix("type=")).unwrap_or(first);
            (!name.is_empty() && !name.contains('=')).then(|| name.to_owned())
        })
    }

    /// The template's switches in its order, the values of one switch together as Packer groups them.
    pub(crate) fn switches(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut order: Vec<&str> = Vec::new();
        for (switch, _) in &self.switches {
            if !order.contains(&switch.as_str()) {
                order.push(switch);
            }
        }
        order.into_iter().flat_map(move |name| {
            self.switches
                .iter()
                .filter(move |(switch, _)| switch == name)
                .map(|(switch, value)| (switch.as_str(), value.as_deref()))
        })
    }
}

/// The accelerator in the value of `-machine`, such as `q35,accel=kvm:tcg`: of several the first.
pub(crate) fn accelerator_of_machine(value: &str) -> Option<String> {
    value.split(',').find_map(|part| part.strip_prefix("accel=")).map(first)
}

fn first(names: &str) -> String {
    names.split([',', ':']).next().unwrap_or_default().to_owned()
}

/// QEMU takes `--switch` for `-switch`.
fn canonical(switch: &str) -> String {
    format!("-{}", switch.trim_start_matches('-'))
}
