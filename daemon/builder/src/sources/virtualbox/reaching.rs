//! What of this host the machine of a package would use, by VirtualBox's own words in it: whoever made the package is a stranger, so what gives
//! away files, devices or programs has to be said by the template itself.

use std::path::Path;

use kiln_disk_formats::package::{HostReach, PackagedMachine};

use crate::error::StepError;

/// The most of them that are told.
const MOST_TOLD: usize = 8;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Reaching(Vec<HostReach>);

impl Reaching {
    pub(super) fn of(machine: Option<PackagedMachine>) -> Self {
        Self(machine.map(|machine| machine.reaches).unwrap_or_default())
    }

    /// Refuses what the template's own commands do not say anew before the machine starts. What only shares a network, a clipboard or sound with
    /// the guest is returned, to be told.
    pub(super) fn refuse(self, package: &Path, commands: &[Vec<String>]) -> Result<Option<String>, StepError> {
        let unsaid = self.0.into_iter().filter(|reach| !reach.is_said(commands));
        let (taking, seeing): (Vec<HostReach>, Vec<HostReach>) = unsaid.partition(|reach| reach.takes);
        if let Some(first) = taking.first() {
            let problem =
                format!("{} would give its machine what is this host's: {}", package.display(), list(&taking));
            return Err(StepError::new(problem).with_hint(hint(first)));
        }
        Ok((!seeing.is_empty()).then(|| format!("The machine of {} has {}", package.display(), list(&seeing))))
    }
}

fn list(reaches: &[HostReach]) -> String {
    let told = reaches.iter().take(MOST_TOLD).map(|reach| reach.what.as_str()).collect::<Vec<_>>().join("; ");
    match reaches.len().saturating_sub(MOST_TOLD) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

fn hint(reach: &HostReach) -> String {
    let without = "export the machine again without it";
    match reach.command() {
        Some(command) => format!(
            "{without}, or say the setting with `vboxmanage`, to leave it out or because it is wanted ({command})"
        ),
        None => without.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kiln_disk_formats::package_facts;

    use super::*;

    /// What becomes of a package whose machine has this in VirtualBox's own words, with such a command of the template.
    fn refused(inside: &str, command: &[&str]) -> Result<Option<String>, StepError> {
        let directory = tempfile::tempdir().unwrap();
        let package = directory.path().join("x.ovf");
        let envelope = "http://schemas.dmtf.org/ovf/envelope/1";
        let text = format!(
            "<Envelope xmlns=\"{envelope}\" xmlns:ovf=\"{envelope}\" xmlns:v=\"http://www.virtualbox.org/ovf/machine\"><References/>\
             <VirtualSystem ovf:id=\"x\"><Info>x</Info><v:Machine/><v:Machine><Hardware>{inside}</Hardware></v:Machine></VirtualSystem></Envelope>"
        );
        std::fs::write(&package, text).unwrap();
        let machine = package_facts(&package).unwrap().unwrap().machines.pop();
        Reaching::of(machine).refuse(&package, &[command.iter().map(|&word| word.to_owned()).collect()])
    }

    #[test]
    fn what_takes_of_the_host_is_refused_unless_the_template_says_it() {
        let port = "<UART><Port slot=\"0\" enabled=\"true\" path=\"/tmp/pipe\" hostMode=\"HostPipe\"/></UART>";
        let error = refused(port, &[]).unwrap_err();
        assert!(error.to_string().contains("its serial port 1 at \"/tmp/pipe\""), "{error}");
        assert!(error.hint().unwrap().contains("vboxmanage") && error.hint().unwrap().contains("--uart1"), "{error:?}");
        assert_eq!(refused(port, &["modifyvm", "{{.Name}}", "--uart1", "off"]).unwrap(), None);
        refused(port, &["modifyvm", "{{.Name}}", "--uart1", "0x3F8", "4"]).unwrap_err();
        let many: String = (0..20).map(|n| format!("<SharedFolder name=\"f{n}\" hostPath=\"/\"/>")).collect();
        let error = refused(&format!("<SharedFolders>{many}</SharedFolders>"), &[]).unwrap_err().to_string();
        assert!(error.contains("\"f7\"") && !error.contains("\"f8\"") && error.ends_with("and 12 more"), "{error}");
    }

    #[test]
    fn what_only_shares_with_the_guest_is_told() {
        let told = refused("<Clipboard mode=\"GuestToHost\"/>", &[]).unwrap().unwrap();
        assert!(told.contains("has this host's Clipboard, mode \"GuestToHost\""), "{told}");
        refused("<Clipboard mode=\"Bidirectional\"/>", &[]).unwrap_err();
        assert_eq!(refused("<Clipboard mode=\"Disabled\"/>", &[]).unwrap(), None);
    }
}
