//! `image info`: facts about an image, and about those below it or beside it in a package.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use kiln_disk_formats::{FormatFacts, ImageInfo, Qcow2Facts, Snapshot, VmdkExtentFacts, VmdkFacts, image_info};
use kiln_protocol::{ImageFacts, ImageResult, ImageSource, InfoRequest, SnapshotFacts};
use serde_json::{Map, Value, json};

use super::failure::Failures;
use super::package::{every_packaged_disk, on_the_wire, package};
use super::reporter::{Ended, Reporter};
use super::source::{named_format, open_source, policy, qemu_name, split_path};

const NANOSECONDS: u64 = 1_000_000_000;

pub(super) fn run(request: &InfoRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    let package = package(&request.image)?;
    let disks = package.as_ref().map_or_else(Vec::new, |package| every_packaged_disk(&request.image, package));
    let mut images = Vec::new();
    if disks.is_empty() {
        images = chain(request)?;
    }
    for disk in disks {
        images.push(facts(&disk.path, describe(&disk)?));
    }
    if let Some(first) = images.first_mut() {
        first.package = package.map(on_the_wire);
    }
    reporter.result(ImageResult::Info { images });
    Ok(Ended::well())
}

/// Describes the image and, when asked for, those below it.
fn chain(request: &InfoRequest) -> Result<Vec<ImageFacts>, Failures> {
    let mut source = request.image.clone();
    if request.backing_chain {
        // So the chain neither comes back to itself, nor is too long, nor leaves the directories that are allowed.
        open_source(&source)?;
    }
    let mut images = Vec::new();
    loop {
        let info = describe(&source)?;
        let below = info.backing().filter(|_| request.backing_chain);
        let own_format = info.format.name();
        images.push(facts(&source.path, info));
        let Some(below) = below else { break };
        let own = Path::new(&source.path).parent().map(|parent| parent.to_string_lossy().into_owned());
        source.allow_backing.extend(own.filter(|own| !own.is_empty()).or_else(|| Some(".".to_owned())));
        source.format = Some(below.format.unwrap_or_else(|| own_format.to_owned()));
        source.path = beside(&source.path, &below.path);
    }
    Ok(images)
}

fn describe(source: &ImageSource) -> Result<ImageInfo, Failures> {
    let format = named_format(source.format.as_deref())?;
    Ok(image_info(split_path(&source.path).0, format, &policy(source))?)
}

fn facts(path: &str, info: ImageInfo) -> ImageFacts {
    // As in qemu-img, a name with options stays what it is.
    let is_json = |name: &String| name.starts_with("json:");
    let full = info.backing_file.as_ref().map(|name| match info.backing() {
        Some(backing) if !is_json(name) => beside(path, &backing.path),
        _ => name.clone(),
    });
    let blocks: u64 = info.files.iter().filter_map(|file| Some(file.metadata().ok()?.blocks())).sum();
    let format_specific = info.specific.map(|specific| {
        let data = match specific {
            FormatFacts::Qcow2(facts) => qcow2(facts),
            FormatFacts::Vmdk(facts) => vmdk(facts, &info.variant),
            _ => json!({}),
        };
        json!({ "type": qemu_name(info.format), "data": data })
    });
    ImageFacts {
        filename: path.to_owned(),
        format: qemu_name(info.format).to_owned(),
        virtual_size: info.virtual_size,
        actual_size: blocks * 512,
        cluster_size: info.cluster_size,
        dirty_flag: info.dirty,
        encrypted: info.encrypted.then_some(true),
        full_backing_filename: full,
        backing_filename: info.backing_file,
        backing_filename_format: info.backing_format,
        snapshots: info.snapshots.into_iter().map(snapshot).collect(),
        variant: Some(info.variant).filter(|variant| !variant.is_empty()),
        format_specific,
        package: None,
    }
}

/// Returns the path that one image calls `name`.
fn beside(path: &str, name: &str) -> String {
    Path::new(path).parent().unwrap_or(Path::new("")).join(name).to_string_lossy().into_owned()
}

fn snapshot(snapshot: Snapshot) -> SnapshotFacts {
    SnapshotFacts {
        id: snapshot.id,
        name: snapshot.name,
        vm_state_size: snapshot.vm_state_size,
        date_sec: u64::from(snapshot.date.0),
        date_nsec: snapshot.date.1,
        vm_clock_sec: snapshot.vm_clock / NANOSECONDS,
        vm_clock_nsec: (snapshot.vm_clock % NANOSECONDS) as u32,
        icount: snapshot.icount,
    }
}

/// Version 2 has no feature bits, and qemu-img says nothing of them.
fn qcow2(facts: Qcow2Facts) -> Value {
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
    put("compat", if facts.version < 3 { "0.10" } else { "1.1" }.into());
    put("compression-type", facts.compression_type.into());
    put("refcount-bits", facts.refcount_bits.into());
    if facts.version >= 3 {
        put("lazy-refcounts", facts.lazy_refcounts.into());
        put("corrupt", facts.corrupt.into());
        put("extended-l2", facts.extended_l2.into());
    }
    if let Some(name) = facts.data_file {
        put("data-file", name.into());
        put("data-file-raw", facts.data_file_raw.into());
    }
    if let Some(encryption) = facts.encryption {
        put("encrypt", json!({ "format": encryption }));
    }
    data.into()
}

fn vmdk(facts: VmdkFacts, create_type: &str) -> Value {
    let extent = |extent: VmdkExtentFacts| {
        let mut data = Map::new();
        data.insert("filename".to_owned(), extent.file.to_string_lossy().into());
        data.insert("format".to_owned(), extent.kind.into());
        data.insert("virtual-size".to_owned(), extent.virtual_size.into());
        data.extend(extent.cluster_size.map(|size| ("cluster-size".to_owned(), size.into())));
        data.extend(extent.compressed.then(|| ("compressed".to_owned(), true.into())));
        Value::from(data)
    };
    let extents: Vec<_> = facts.extents.into_iter().map(extent).collect();
    json!({
        "cid": facts.content_id,
        "parent-cid": facts.parent_content_id,
        "create-type": create_type,
        "extents": extents,
    })
}
