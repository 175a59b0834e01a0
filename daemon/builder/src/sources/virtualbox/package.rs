//! A package is looked into before VirtualBox is given it: what is missing in it, or leads out of it, is told before anything is made.

use std::path::Path;

use kiln_disk_formats::package::{PackagedMachine, Verification, VerifyProblemKind, verify, verify_presence};
use kiln_disk_formats::package_facts;

use super::reaching::Reaching;
use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::plan::{VirtualBoxOrigin, VirtualBoxPlan};
use crate::plan_reader::{PlanReader, Purpose};
use crate::{export, fetch};

/// The option that names the package.
const SOURCE: &str = "source_path";

/// The most problems of a package that are told.
const MOST_TOLD: usize = 5;

/// Complains about a package that is here already, as far as that can be seen without reading its disks: before anything is started.
pub(super) fn check_host(plan: &VirtualBoxPlan, reader: &mut PlanReader<'_>) {
    let VirtualBoxOrigin::Ovf { package, .. } = &plan.origin else { return };
    // What has been imported is not imported again.
    if reader.purpose == Purpose::Resume || reader.options.is_unusable(SOURCE) {
        return;
    }
    // What is not there is told by the fetch, before anything is made.
    let local = package.urls.iter().find_map(|url| fetch::local_path(url)).filter(|path| path.is_file());
    let Some(path) = local else { return };
    let found = check_machines(&path).and_then(|reaching| {
        let told = reaching.refuse(&path, &plan.commands)?;
        refuse(&path, &verify_presence(&path)?)?;
        Ok::<_, StepError>(told)
    });
    match found {
        Ok(Some(told)) => reader.warning(SOURCE, "The machine reaches out of itself", told),
        Ok(None) => {}
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            reader.not_here(SOURCE, "This package cannot be imported", error.to_string(), hint);
        }
    }
}

/// Refuses a package whose files are not all there and as its descriptor and manifest say, one of several machines, and one whose machine would
/// use what is this host's. `commands`: the template's own, before the machine starts.
pub(super) async fn check(package: &Path, commands: &[Vec<String>], context: &BuildContext) -> Result<(), StepError> {
    let (path, commands, reporter) = (package.to_owned(), commands.to_vec(), context.clone());
    let told = blocking("checking the package", move |abandoned| {
        let told = check_machines(&path)?.refuse(&path, &commands)?;
        refuse(&path, &verify(&path, &export::report(&reporter, "check the package", abandoned))?)?;
        Ok::<_, StepError>(told)
    })
    .await?;
    if let Some(told) = told {
        context.say(told);
    }
    Ok(())
}

fn refuse(package: &Path, found: &Verification) -> Result<(), StepError> {
    let matters = |kind: &VerifyProblemKind| {
        !matches!(kind, VerifyProblemKind::NoManifest | VerifyProblemKind::Unlisted | VerifyProblemKind::Unreferenced)
    };
    let problems: Vec<String> =
        found.problems.iter().filter(|problem| matters(&problem.kind)).map(ToString::to_string).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let more = match problems.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let told = problems[..problems.len().min(MOST_TOLD)].join("; ");
    Err(StepError::new(format!("{} cannot be imported: {told}{more}", package.display()))
        .with_hint("put all files of the package beside its descriptor, as they were exported"))
}

/// Refuses a package of several machines: VirtualBox imports them all, whichever is asked for. Tells what of this host its machine would use.
fn check_machines(package: &Path) -> Result<Reaching, StepError> {
    // What this reader refuses is refused: VirtualBox would import a second machine, which nobody would find again, and reads without limits. It
    // takes whatever is not called `.ovf` for an archive.
    let Some(mut facts) = package_facts(package)?.filter(|facts| facts.is_ovf) else {
        let problem =
            format!("{} is no package of VirtualBox's: no OVF, and no archive with one in it", package.display());
        return Err(StepError::new(problem).with_hint("export the machine with `VBoxManage export`"));
    };
    if !facts.other_descriptors.is_empty() {
        let others = facts.other_descriptors.iter().take(MOST_TOLD).map(|name| format!("{name:?}"));
        let told = others.collect::<Vec<_>>().join(", ");
        let problem =
            format!("{} has more than its descriptor, and VirtualBox may take another: {told}", package.display());
        return Err(StepError::new(problem).with_hint("pack it again with one .ovf, as its first file"));
    }
    if facts.machines.is_empty() {
        let problem = format!("{} describes no machine", package.display());
        return Err(StepError::new(problem).with_hint("export the machine again"));
    }
    if facts.machines.len() == 1 {
        return Ok(Reaching::of(facts.machines.pop()));
    }
    let name = |machine: &PackagedMachine| machine.name.clone().unwrap_or_else(|| "one without a name".to_owned());
    let mut names: Vec<String> = facts.machines.iter().take(MOST_TOLD).map(name).collect();
    if facts.machines.len() > MOST_TOLD {
        names.push(format!("and {} more", facts.machines.len() - MOST_TOLD));
    }
    let (count, told) = (facts.machines.len(), names.join(", "));
    let problem = format!("{} has {count} machines, but a build has one: {told}", package.display());
    Err(StepError::new(problem).with_hint("export the machine that is wanted into a package of its own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_two_machines_is_refused_with_their_names() {
        let system =
            |name: &str| format!("<VirtualSystem ovf:id=\"{name}\"><Info>x</Info><Name>{name}</Name></VirtualSystem>");
        let directory = tempfile::tempdir().unwrap();
        let check = |inside: &str| {
            let package = directory.path().join("x.ovf");
            let envelope = "http://schemas.dmtf.org/ovf/envelope/1";
            let text =
                format!("<Envelope xmlns=\"{envelope}\" xmlns:ovf=\"{envelope}\"><References/>{inside}</Envelope>");
            std::fs::write(&package, text).unwrap();
            assert!(package_facts(&package).is_ok_and(|facts| facts.is_some()));
            check_machines(&package)
        };
        let two = format!(
            "<VirtualSystemCollection ovf:id=\"c\">{}{}</VirtualSystemCollection>",
            system("web"),
            system("db")
        );
        let error = check(&two).unwrap_err();
        assert!(error.to_string().contains("has 2 machines, but a build has one: web, db"), "{error}");
        assert!(error.hint().is_some());
        check(&system("web")).unwrap();
        assert!(check("").unwrap_err().to_string().contains("describes no machine"));
    }

    #[test]
    fn only_what_virtualbox_reads_as_it_is_read_here_is_imported() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["x.ova", "x.vmx", "x.bin"] {
            let package = directory.path().join(name);
            std::fs::write(&package, "config.version = \"8\"\n").unwrap();
            let error = check_machines(&package).unwrap_err().to_string();
            assert!(error.contains("no package of VirtualBox's"), "{name}: {error}");
        }
        // Which VirtualBox would take, as it comes first.
        let file = |name: &str, text: &str| {
            let mut header = [0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..136].copy_from_slice(format!("{:011o}\0", text.len()).as_bytes());
            header[148..156].fill(b' ');
            header[156] = b'0';
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            let mut bytes = [&header[..], text.as_bytes()].concat();
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes
        };
        let ovf =
            "<Envelope xmlns:ovf='o'><References/><VirtualSystem ovf:id='x'><Info>x</Info></VirtualSystem></Envelope>";
        let package = directory.path().join("two.ova");
        let end = vec![0; 1024];
        std::fs::write(&package, [file("._a.ovf", ovf), file("b.ovf", ovf), end.clone()].concat()).unwrap();
        let error = check_machines(&package).unwrap_err().to_string();
        assert!(error.contains("may take another: \"._a.ovf\""), "{error}");
        std::fs::write(&package, [file("b.ovf", ovf), end].concat()).unwrap();
        check_machines(&package).unwrap();
    }
}
