//! Questions to VirtualBox whose answers decide what is touched: one that makes no sense is an error, and never "there is nothing".

use super::facts::{Facts, Snapshots};
use super::problem::{Failure, Problem};
use super::program::{VBoxManage, shown};
use super::registered::{self, Registered};

/// Longest part of an answer that is passed on, in characters.
const MOST_QUOTED: usize = 200;

/// The machines that are registered.
pub(super) async fn machines(program: &VBoxManage) -> Result<Vec<Registered>, Failure> {
    let call = ["list", "vms"];
    let said = program.run(&call).await?;
    registered::machines(&said).map_err(|line| senseless(&call, line, "is no machine"))
}

/// What the machine is like. One whose settings VirtualBox cannot read has a name, too.
pub(super) async fn facts(program: &VBoxManage, uuid: &str) -> Result<Facts, Failure> {
    let call = ["showvminfo", uuid, "--machinereadable"];
    let said = program.run(&call).await?;
    let facts = Facts::read(&said);
    if facts.get("name").is_none() {
        return Err(senseless(&call, &said, "tells of no machine"));
    }
    Ok(facts)
}

/// The snapshots of a machine; one without any has an empty list.
pub(super) async fn snapshots(program: &VBoxManage, uuid: &str) -> Result<Snapshots, Failure> {
    let call = ["snapshot", uuid, "list", "--machinereadable"];
    let said = match program.run(&call).await {
        Ok(said) => said,
        Err(failure) if failure.is(Problem::NoSnapshot) => return Ok(Snapshots::default()),
        Err(failure) => return Err(failure),
    };
    let snapshots = Snapshots::read(&said);
    let none = snapshots.all.is_empty() && snapshots.current.is_none();
    // Which is said in a sentence.
    if none && !said.contains("does not have any snapshots") {
        return Err(senseless(&call, &said, "tells of no snapshots"));
    }
    Ok(snapshots)
}

/// The failure of a call whose answer makes no sense.
pub(super) fn senseless(call: &[&str], said: &str, problem: &str) -> Failure {
    let quoted: String = said.trim().chars().take(MOST_QUOTED).collect();
    Failure::new(&shown(call), Problem::Senseless, &format!("{quoted:?} {problem}"))
}
