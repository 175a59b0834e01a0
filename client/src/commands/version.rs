//! `kiln version`: no socket, no runtime.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::CommandError;
use crate::render::{Look, write_version};
use crate::terminal;
use crate::version::VERSION;

/// Prints the version in Packer's form.
pub(crate) fn version(machine_readable: bool) -> Result<(), CommandError> {
    let look = Look { machine_readable, terminal: false, colour: false, timestamps: false, time_zone: TimeZone::UTC };
    write_version(&look, Timestamp::now(), VERSION, &mut terminal::stdout())?;
    Ok(())
}
