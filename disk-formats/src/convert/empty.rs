//! Images without any data.

use super::publish::publish_all;
use crate::error::Result;
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::OutputWriter;

/// Completes and publishes an image without any data.
pub(crate) fn write_empty(writer: impl OutputWriter + 'static, virtual_size: u64) -> Result<()> {
    let mut writer: Box<dyn OutputWriter> = Box::new(writer);
    writer.end_disk(&PassReport::empty(virtual_size))?;
    publish_all(&mut writer.finish()?, false)
}
