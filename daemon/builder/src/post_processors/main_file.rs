//! Which of an artifact's files is the image, where the template does not say.

use std::path::PathBuf;

use kiln_disk_formats::{Format, detect};

use crate::artifact::Artifact;

/// Beside a disk of QEMU's, the variables of its firmware.
const BESIDE: &str = "efivars.fd";

/// The first file that says of itself that it is an image, else the first that is not known to be something else: any file is a raw image.
pub(super) fn main_file(input: &Artifact) -> Option<&PathBuf> {
    let says_so = |file: &&PathBuf| detect(file).is_ok_and(|format| format != Format::Raw);
    // What a firmware keeps, its guest writes as it likes.
    let others = || input.files.iter().filter(stands_alone);
    others().find(says_so).or_else(|| others().next()).or(input.files.first())
}

fn stands_alone(file: &&PathBuf) -> bool {
    file.file_name().is_none_or(|name| name != BESIDE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Ownership;

    #[test]
    fn the_disk_is_found_among_what_is_beside_it() {
        let scratch = tempfile::tempdir().unwrap();
        let file = |name: &str| scratch.path().join(name);
        std::fs::write(file("efivars.fd"), "variables").unwrap();
        std::fs::write(file("notes"), "text").unwrap();
        kiln_disk_formats::create_qcow2(&file("web"), 1 << 20).unwrap();
        let of = |names: &[&str]| {
            let files = names.iter().map(|name| file(name)).collect();
            let (builder_id, id, text) = (String::new(), String::new(), String::new());
            let artifact = Artifact { builder_id, id, text, files, ownership: Ownership::Nothing };
            main_file(&artifact).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(of(&["efivars.fd", "notes", "web"]).unwrap(), "web");
        assert_eq!(of(&["efivars.fd", "notes"]).unwrap(), "notes");
        assert_eq!(of(&["efivars.fd"]).unwrap(), "efivars.fd");
        std::fs::remove_file(file("efivars.fd")).unwrap();
        kiln_disk_formats::create_qcow2(&file("efivars.fd"), 1 << 20).unwrap();
        assert_eq!(of(&["efivars.fd", "notes"]).unwrap(), "notes", "the guest says that it is an image");
        assert_eq!(of(&[]), None);
    }
}
