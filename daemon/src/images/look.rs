//! `image info` and `image map`: what is known about an image without reading its data.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use kiln_disk_formats::{DiskReader, Extent, ExtentKind};
use kiln_protocol::{ImageFacts, ImageResult, InfoRequest, MapExtent, MapRequest};

use super::failure::{Failure, Failures};
use super::source::{open_source, qemu_name};
use super::{Ended, Reporter};

/// Extents in one event.
const EXTENTS_PER_EVENT: usize = 2048;

/// Most extents that are told; about 100 MiB of events.
const MAX_EXTENTS: usize = 1 << 20;

pub(super) fn info(request: &InfoRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    let mut source = request.image.clone();
    let first = open_source(&source)?;
    let mut images = vec![facts(&source.path, &*first)];
    // The whole chain was opened with the first image, so it neither comes back to itself nor is too long.
    while let (true, Some(below)) =
        (request.backing_chain, images.last().and_then(|last| last.full_backing_filename.clone()))
    {
        let own = Path::new(&source.path).parent().map(|parent| parent.to_string_lossy().into_owned());
        source.allow_backing.extend(own.filter(|own| !own.is_empty()).or_else(|| Some(".".to_owned())));
        (source.path, source.format) = (below, None);
        images.push(facts(&source.path, &*open_source(&source)?));
    }
    reporter.result(ImageResult::Info { images });
    Ok(Ended::well())
}

fn facts(path: &str, reader: &dyn DiskReader) -> ImageFacts {
    let info = reader.info();
    let full = info.backing_file.as_deref().map(|name| {
        let name = name.strip_prefix("file:").unwrap_or(name);
        Path::new(path).parent().unwrap_or(Path::new("")).join(name).to_string_lossy().into_owned()
    });
    ImageFacts {
        filename: path.to_owned(),
        format: qemu_name(info.format).to_owned(),
        virtual_size: info.virtual_size,
        actual_size: Path::new(path).metadata().map_or(0, |metadata| metadata.blocks() * 512),
        cluster_size: info.cluster_size,
        dirty_flag: false,
        encrypted: None,
        full_backing_filename: full,
        backing_filename: info.backing_file,
        backing_filename_format: None,
        snapshots: Vec::new(),
        variant: Some(info.variant).filter(|variant| !variant.is_empty()),
        format_specific: None,
    }
}

pub(super) fn map(request: &MapRequest, reporter: &Reporter) -> Result<Ended, Failures> {
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
