//! Takes the temporary key out of a guest that is provisioned: it would let in whoever has it into every machine made of the image.

use std::time::{Duration, Instant};

use kiln_communicators::{Communicator, DiscardedOutput, Exit};
use kiln_hypervisors::Machine;

use crate::context::BuildContext;

/// How long the guest may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Removes the key with the comment `name` from the guest's `authorized_keys`: the user's, and root's. A guest that has none is left as it
/// is; one that cannot be asked is told of.
pub(crate) async fn run(name: &str, communicator: &dyn Communicator, machine: &dyn Machine, context: &BuildContext) {
    context.say("Trying to remove ephemeral keys from authorized_keys files");
    let communicator = communicator.until(Instant::now() + LIMIT);
    let removing = async {
        for command in commands(name) {
            match communicator.execute(&command, &DiscardedOutput).await {
                // Without the file there is nothing to do, nor without sudo.
                Ok(Exit::Code(_) | Exit::Signal(_)) => {}
                Ok(Exit::Disconnected) => return Err("the connection was lost".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    };
    let removed = tokio::select! {
        removed = tokio::time::timeout(LIMIT, removing) =>
            removed.unwrap_or_else(|_| Err(format!("the guest has not done it within {} s", LIMIT.as_secs()))),
        // A provisioner may have shut it down.
        exit = machine.exited() => Err(exit.to_string()),
    };
    if let Err(why) = removed {
        context.error(format!("Warning: the temporary key {name} may still be in the guest: {why}"));
    }
}

/// What is run in the guest: Packer's two removals. Nobody is there to answer sudo.
fn commands(name: &str) -> [String; 2] {
    let removal = |sudo: &str, home: &str| {
        let (file, line) = (format!("{home}/.ssh/authorized_keys"), quoted(&format!("/ {}$/d", pattern(name))));
        format!("{sudo}sed -i.bak {line} {file}; {sudo}rm -f {file}.bak")
    };
    [removal("", "~"), removal("sudo -n ", "/root")]
}

/// Text as a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The basic regular expression that matches `name` alone.
fn pattern(name: &str) -> String {
    let mut pattern = String::new();
    for c in name.chars() {
        if r"\/.*[]^$".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_of_that_name_goes() {
        let directory = tempfile::tempdir().unwrap();
        let ssh = directory.path().join(".ssh");
        std::fs::create_dir(&ssh).unwrap();
        let name = r"it's /a*[1]\^$.&";
        let others = format!("ssh-rsa AAAA other\nssh-rsa BBBB not {name} \nssh-rsa CCCC it's /ab[1]\\^$.&\n");
        let file = ssh.join("authorized_keys");
        std::fs::write(&file, format!("{others}ssh-ed25519 DDDD {name}\n")).unwrap();
        let [own, _] = commands(name);
        let status =
            std::process::Command::new("sh").args(["-c", &own]).env("HOME", directory.path()).status().unwrap();
        assert!(status.success());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), others);
        assert!(!ssh.join("authorized_keys.bak").exists());
    }
}
