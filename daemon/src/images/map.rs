//! `image map`: what a disk holds without reading it.

use kiln_disk_formats::{Extent, ExtentKind};
use kiln_protocol::{ImageResult, MapExtent, MapRequest};

use super::failure::{Failure, Failures};
use super::source::open_source;
use super::{Ended, Reporter};

/// Extents in one event.
const EXTENTS_PER_EVENT: usize = 2048;

/// Most extents that are told; about 100 MiB of events.
const MAX_EXTENTS: usize = 1 << 20;

pub(super) fn run(request: &MapRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    let reader = open_source(&request.image)?;
    let size = reader.virtual_size();
    let end = request.length.map_or(size, |length| request.start.saturating_add(length).min(size));
    let (mut offset, mut part, mut told) = (request.start, Vec::new(), 0);
    let mut last: Option<Extent> = None;
    while offset < end {
        for extent in reader.extents(offset..end)? {
            offset = extent.end();
            match &mut last {
                Some(last) if last.kind == extent.kind => last.len += extent.len,
                _ => part.extend(last.replace(extent).map(on_the_wire)),
            }
        }
        if part.len() >= EXTENTS_PER_EVENT {
            told += part.len();
            reporter.result(ImageResult::Map { extents: std::mem::take(&mut part) });
        }
        if told > MAX_EXTENTS {
            let failure = Failure::new(format!("the map of {} has more than {MAX_EXTENTS} parts", request.image.path));
            return Err(failure.hint("`--start-offset` and `--max-length` choose a part of the disk").into());
        }
        if reporter.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Failures { list: Vec::new(), exit_code: super::EXIT_FAILURE, cancelled: true });
        }
    }
    part.extend(last.map(on_the_wire));
    reporter.result(ImageResult::Map { extents: part });
    Ok(Ended::well())
}

fn on_the_wire(extent: Extent) -> MapExtent {
    MapExtent {
        start: extent.offset,
        length: extent.len,
        depth: 0,
        present: extent.kind != ExtentKind::Hole,
        zero: extent.kind != ExtentKind::Data,
        data: extent.kind == ExtentKind::Data,
        compressed: None,
        offset: None,
    }
}
