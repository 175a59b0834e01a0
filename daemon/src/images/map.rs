//! `image map`: what a disk holds, and where, without reading it.

use kiln_disk_formats::MapEntry;
use kiln_protocol::{ImageResult, MapExtent, MapRequest};

use super::failure::{Failure, Failures};
use super::reporter::{EXIT_FAILURE, Ended, Reporter};
use super::source::open_source;

/// Extents in one event.
const EXTENTS_PER_EVENT: usize = 2048;

/// Most extents that are told; about 100 MiB of events.
const MAX_EXTENTS: usize = 1 << 20;

pub(super) fn run(request: &MapRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    let reader = open_source(&request.image)?;
    let size = reader.virtual_size();
    let end = request.length.map_or(size, |length| request.start.saturating_add(length).min(size));
    let (mut offset, mut part, mut told) = (request.start, Vec::new(), 0);
    let mut last: Option<MapEntry> = None;
    while offset < end {
        for entry in reader.map(offset..end)? {
            offset = entry.end();
            match &mut last {
                Some(last) if last.joins(&entry) => last.length += entry.length,
                _ => part.extend(last.replace(entry).map(on_the_wire)),
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
        if reporter.is_cancelled() {
            return Err(Failures { list: Vec::new(), exit_code: EXIT_FAILURE, cancelled: true });
        }
    }
    part.extend(last.map(on_the_wire));
    reporter.result(ImageResult::Map { extents: part });
    Ok(Ended::well())
}

fn on_the_wire(entry: MapEntry) -> MapExtent {
    MapExtent {
        start: entry.start,
        length: entry.length,
        depth: entry.depth,
        present: entry.present,
        zero: entry.zero,
        data: entry.data,
        compressed: Some(entry.compressed),
        offset: entry.offset,
    }
}
