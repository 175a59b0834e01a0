//! The host's networks that a template's own commands put a machine on: VirtualBox takes a name that is not there, and refuses the start when
//! all is made.

use std::collections::BTreeMap;

use super::explain::names_in;
use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use crate::error::StartError;

/// A kind of network that is on the host.
struct Kind {
    /// How the options of its adapters begin; the adapter's number follows.
    options: [&'static str; 2],
    /// What an adapter is that is put on one.
    mode: &'static str,
    /// What `list` calls them.
    list: &'static str,
    what: &'static str,
    /// The command that makes one.
    makes: Option<&'static str>,
}

const KINDS: [Kind; 2] = [
    Kind {
        options: ["--bridgeadapter", "--bridge-adapter"],
        mode: "bridged",
        list: "bridgedifs",
        what: "interface to bridge to",
        makes: None,
    },
    Kind {
        options: ["--hostonlyadapter", "--host-only-adapter"],
        mode: "hostonly",
        list: "hostonlyifs",
        what: "host-only interface",
        makes: Some("hostonlyif"),
    },
];

impl Kind {
    /// Those that the commands put an adapter on in the end. A name of an adapter of another kind is of no account; what is yet to be filled in
    /// is passed over, and all of a kind that the commands make.
    fn named<'c>(&self, commands: &'c [Vec<String>]) -> Vec<&'c str> {
        if commands.iter().any(|command| command.first().map(String::as_str) == self.makes && self.makes.is_some()) {
            return Vec::new();
        }
        let modes = last_values(commands, &["--nic"]);
        let is_meant = |number: &str, name: &str| {
            modes.get(number).is_some_and(|mode| mode.eq_ignore_ascii_case(self.mode))
                && name != "none"
                && !name.contains("{{")
        };
        let named = last_values(commands, &self.options).into_iter();
        named.filter(|(number, name)| is_meant(number, name)).map(|(_, name)| name).collect()
    }
}

/// What an option of adapters says last of each, by the adapter's number, which follows the option.
fn last_values<'c>(commands: &'c [Vec<String>], options: &[&str]) -> BTreeMap<&'c str, &'c str> {
    let value = |words: &'c [String], place: usize| {
        let word = &words[place];
        let rest = options.iter().find_map(|option| word.strip_prefix(option))?;
        let (number, value) = rest.split_once('=').map_or((rest, None), |(number, value)| (number, Some(value)));
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        Some((number, value.or(words.get(place + 1).map(String::as_str))?)).filter(|_| is_number)
    };
    commands.iter().flat_map(|words| (0..words.len()).filter_map(move |place| value(words, place))).collect()
}

/// Refuses a network of the host that the commands name and that is not there.
pub(super) async fn refuse_unknown(commands: &[Vec<String>], program: &VBoxManage) -> Result<(), StartError> {
    for kind in KINDS {
        let named = kind.named(commands);
        if named.is_empty() {
            continue;
        }
        let call = ["list", kind.list];
        let there = names_in(&program.run(&call).await?);
        if let Some(missing) = named.into_iter().find(|&name| !there.iter().any(|one| one == name)) {
            let names = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            let words = format!("this host has no {} called {missing}; there are: {names}", kind.what);
            return Err(Failure::new("vboxmanage", Problem::Network, &words).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(lines: &[&str]) -> Vec<Vec<String>> {
        lines.iter().map(|line| line.split(' ').map(ToOwned::to_owned).collect()).collect()
    }

    #[test]
    fn networks_are_known_by_the_options_of_adapters() {
        let [bridged, host_only] = KINDS;
        let named = commands(&[
            "modifyvm {{.Name}} --nic1 bridged --bridgeadapter1 eth0",
            "modifyvm {{.Name}} --bridge-adapter2=br0 --nic2=bridged --nic3 bridged --bridgeadapter3 {{ user }} --bridgeadapter4",
            "modifyvm {{.Name}} --bridgeadapterx eth1 --description --bridgeadapter",
            "modifyvm {{.Name}} --nic5 hostonly --hostonlyadapter5 vboxnet0",
        ]);
        assert_eq!(bridged.named(&named), ["eth0", "br0"]);
        assert_eq!(host_only.named(&named), ["vboxnet0"]);
        // VBoxManage's word for none, an adapter that is of another kind, and one that is so in the end.
        let started = commands(&[
            "modifyvm {{.Name}} --nic1 nat --bridgeadapter1 eth0 --hostonlyadapter1 none",
            "modifyvm {{.Name}} --nic2 bridged --bridge-adapter2 none --nic3 hostonly --host-only-adapter3=none",
            "modifyvm {{.Name}} --nic4 bridged --bridgeadapter4 eth0 --bridgeadapter5 eth0",
            "modifyvm {{.Name}} --nic4 nat --nic6 {{ user }} --bridgeadapter6 eth0",
        ]);
        assert_eq!(bridged.named(&started), Vec::<&str>::new());
        assert_eq!(host_only.named(&started), Vec::<&str>::new());
        let again = commands(&["modifyvm x --nic1 bridged --bridgeadapter1 eth0", "modifyvm x --bridge-adapter1 eth1"]);
        assert_eq!(bridged.named(&again), ["eth1"], "the last");
        let made = commands(&["hostonlyif create", "modifyvm {{.Name}} --host-only-adapter2 vboxnet0"]);
        assert_eq!(host_only.named(&made), Vec::<&str>::new(), "it may be there by then");
        assert_eq!(bridged.named(&[vec![]]), Vec::<&str>::new());
    }
}
