//! kiln.

use std::process::ExitCode;

fn main() -> ExitCode {
    kiln_client::run(std::env::args_os())
}
