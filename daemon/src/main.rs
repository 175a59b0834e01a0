//! kilnd.

use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    kiln_daemon::command_line::main(std::env::args_os(), Arc::new(kiln_daemon::engine::Engine))
}
