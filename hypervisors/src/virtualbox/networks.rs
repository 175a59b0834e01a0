//! The host's networks that a template's own commands put a machine on: VirtualBox takes a name that is not there, and refuses the start when
//! all is made.

use super::explain::names_in;
use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use crate::error::StartError;

/// A kind of network that is on the host.
struct Kind {
    /// How the options of its adapters begin; the adapter's number follows.
    options: [&'static str; 2],
    /// What `list` calls them.
    list: &'static str,
    what: &'static str,
    /// The command that makes one.
    makes: Option<&'static str>,
}

const KINDS: [Kind; 2] = [
    Kind {
        options: ["--bridgeadapter", "--bridge-adapter"],
        list: "bridgedifs",
        what: "interface to bridge to",
        makes: None,
    },
    Kind {
        options: ["--hostonlyadapter", "--host-only-adapter"],
        list: "hostonlyifs",
        what: "host-only interface",
        makes: Some("hostonlyif"),
    },
];

impl Kind {
    /// Those that the commands name. What is yet to be filled in is passed over, and all of a kind that the commands make.
    fn named<'c>(&self, commands: &'c [Vec<String>]) -> Vec<&'c str> {
        if commands.iter().any(|command| command.first().map(String::as_str) == self.makes && self.makes.is_some()) {
            return Vec::new();
        }
        let value = |words: &'c [String], place: usize| {
            let word = &words[place];
            let rest = self.options.iter().find_map(|option| word.strip_prefix(option))?;
            let (number, value) = rest.split_once('=').map_or((rest, None), |(number, value)| (number, Some(value)));
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            value.or(words.get(place + 1).map(String::as_str)).filter(|name| is_number && !name.contains("{{"))
        };
        commands.iter().flat_map(|words| (0..words.len()).filter_map(move |place| value(words, place))).collect()
    }
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
            "modifyvm {{.Name}} --bridge-adapter2=br0 --bridgeadapter3 {{ user }} --bridgeadapter4",
            "modifyvm {{.Name}} --bridgeadapterx eth1 --description --bridgeadapter",
            "modifyvm {{.Name}} --nic2 hostonly --hostonlyadapter2 vboxnet0",
        ]);
        assert_eq!(bridged.named(&named), ["eth0", "br0"]);
        assert_eq!(host_only.named(&named), ["vboxnet0"]);
        let made = commands(&["hostonlyif create", "modifyvm {{.Name}} --host-only-adapter2 vboxnet0"]);
        assert_eq!(host_only.named(&made), Vec::<&str>::new(), "it may be there by then");
        assert_eq!(bridged.named(&[vec![]]), Vec::<&str>::new());
    }
}
