//! Child processes that can never be lost: each dies with this process, is waited for exactly once, and is known to the ledger.

mod child;
mod command;
mod program;
#[cfg(test)]
pub(crate) mod script;
mod spawner;
mod stranger;
mod tail;
mod tool;

pub(crate) use child::{ChildProcess, ExitState, StartingProcess};
pub(crate) use command::ChildCommand;
pub(crate) use program::find_program;
pub(crate) use stranger::Stranger;
pub(crate) use tail::Tail;
pub(crate) use tool::{ToolFailure, ToolOutput, run_tool};
