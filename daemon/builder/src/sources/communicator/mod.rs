//! Reads the communicator options, which every builder that has a guest shares: here which one it is, in a file of its own each
//! what it can be told.

mod ssh;

pub(crate) use ssh::TemporaryKey;

use crate::plan::CommunicatorPlan;
use crate::plan_reader::PlanReader;

pub(crate) fn read(reader: &mut PlanReader<'_>, key: TemporaryKey) -> CommunicatorPlan {
    // Of an unknown one nothing can be asked.
    if reader.options.is_unusable("communicator") {
        return CommunicatorPlan::None;
    }
    match reader.text_or("communicator", "ssh").as_str() {
        "none" => CommunicatorPlan::None,
        "ssh" => CommunicatorPlan::Ssh(Box::new(ssh::read(reader, key))),
        "winrm" => {
            if reader.text("winrm_username").is_none() {
                reader.error(
                    "winrm_username",
                    "Missing winrm_username",
                    "A winrm_username must be specified: the user that provisioning logs in as.",
                );
            }
            CommunicatorPlan::WinRm
        }
        other => {
            let detail = format!("Communicator type {other} is invalid; it must be ssh, winrm or none.");
            reader.error("communicator", "Unknown communicator", detail);
            CommunicatorPlan::None
        }
    }
}
