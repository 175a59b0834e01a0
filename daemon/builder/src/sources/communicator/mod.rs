//! Reads the communicator options, which every builder that has a guest shares: here which one it is, in a file of its own each
//! what it can be told.

mod ssh;
mod winrm;

pub(crate) use ssh::TemporaryKey;

use crate::option_values::OptionValues;
use crate::plan::{CommunicatorPlan, GuestAgentPlan};

pub(crate) fn read(options: OptionValues<'_>, key: TemporaryKey) -> CommunicatorPlan {
    match options.text("communicator").as_deref() {
        Some("ssh") => CommunicatorPlan::Ssh(Box::new(ssh::read(options, key))),
        Some("guest-agent") => CommunicatorPlan::GuestAgent(GuestAgentPlan {
            timeout: options.positive_duration("guest_agent_timeout"),
            pause_before_connecting: options.duration("pause_before_connecting"),
        }),
        Some("winrm") => CommunicatorPlan::WinRm(Box::new(winrm::read(options))),
        _ => CommunicatorPlan::None,
    }
}
