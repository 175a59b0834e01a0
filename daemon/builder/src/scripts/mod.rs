//! Scripts as provisioners and post-processors run them: which, with which variables, and those of this machine.

mod command;
mod local;
mod printf;
mod script;

pub(crate) use command::LocalCommand;
pub(crate) use local::ShellLocal;
pub(crate) use script::{Script, check_exit_code, format_variables, formatted, not_run, scripts, variables};
