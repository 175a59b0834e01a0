//! What goes into a build besides its template, read from its plan: the image that it begins with, and the files that its parts name.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use kiln_template::{Component, Generated, Options};

use crate::attestation::digest_of_file;
use crate::blocking::blocking;
use crate::build_data::BuildInputs;
use crate::built::PlannedBuild;
use crate::error::StepError;
use crate::generated;
use crate::sources;

/// Options that name files of this machine which end up in the guest, or say what is done there.
const NAMES: [&str; 22] = [
    "script",
    "scripts",
    "source",
    "sources",
    "source_path",
    "playbook_file",
    "playbook_files",
    "galaxy_file",
    "inventory_file",
    "manifest_file",
    "manifest_dir",
    "module_paths",
    "hiera_config_path",
    "config_template",
    "json_file",
    "floppy_files",
    "cd_files",
    "vagrantfile_template",
    "include",
    "efi_firmware_code",
    "efi_firmware_vars",
    "vmx_template_path",
];

/// Reads it.
pub(crate) fn of(planned: &PlannedBuild) -> BuildInputs {
    let image = sources::machine(&planned.plan.source).and_then(|builder| builder.guest().image);
    let image = image.map(|image| (image.urls.clone(), image.checksum.clone()));
    let mut files: Vec<PathBuf> = Vec::new();
    for component in planned.build.components() {
        files.extend(named_by(component));
    }
    // Of a virtualbox-ovf the image is such a file too.
    let is_image = |file: &Path| {
        let urls = image.iter().flat_map(|(urls, _)| urls);
        urls.into_iter().any(|url| Path::new(url) == file)
    };
    files.retain(|file| !is_image(file));
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    BuildInputs { image, files, digests: BTreeMap::new() }
}

/// Whether a post-processor will say what the build was made of.
pub(crate) fn is_attested(planned: &PlannedBuild) -> bool {
    let mut post_processors = planned.build.post_processors.iter().flatten();
    post_processors.any(|post_processor| post_processor.component.kind == "provenance")
}

/// The SHA-256 of each of the files, when something will say it: read before the build uses them, for nobody knows afterwards what it has used.
/// What cannot be read is told by whoever uses it.
pub(crate) async fn digests(planned: &PlannedBuild, files: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    if !is_attested(planned) {
        return BTreeMap::new();
    }
    let files = files.to_owned();
    let hashing = blocking("computing digests", move |abandoned| {
        let go_on = |_: u64| match abandoned.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let digests = files.into_iter().filter_map(|file| Some((file.clone(), digest_of_file(&file, &go_on).ok()?)));
        Ok::<_, StepError>(digests.collect())
    });
    hashing.await.unwrap_or_default()
}

fn named_by(component: &Component) -> Vec<PathBuf> {
    // What is wrong with them has been said.
    let (options, _) = component.decode_partly(&generated::names());
    // Then `source` is a file of the guest.
    if options.string("direction") == Some("download") {
        return Vec::new();
    }
    let known = NAMES.iter().filter(|name| component.schema().spec(name).is_some());
    known.flat_map(|name| texts(&options, name)).map(PathBuf::from).filter(|path| path.exists()).collect()
}

fn texts(options: &Options, name: &str) -> Vec<String> {
    let texts = options.string(name).map(str::to_owned).into_iter().chain(options.strings(name).iter().cloned());
    texts.filter(|text| !text.is_empty() && !text.contains(Generated::UNKNOWN)).collect()
}
