//! What a box says of itself: `metadata.json` in a tar archive that is packed with gzip, or not.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::MultiGzDecoder;
use serde_json::Value as Json;

use crate::error::StepError;

/// Most members that are looked at.
const MAX_MEMBERS: usize = 1024;

/// A larger file is no metadata.
const MAX_METADATA: u64 = 1 << 20;

/// The first bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) provider: Option<String>,
    pub(super) architecture: Option<String>,
}

/// Ends reading when nobody waits for it any more: the metadata may be behind a disk.
struct Watched<'a, R>(R, &'a AtomicBool);

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.1.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        self.0.read(to)
    }
}

/// Reads it.
pub(super) fn read(path: &Path, abandoned: &AtomicBool) -> Result<Said, StepError> {
    let cannot = |error| StepError::new(format!("cannot read the box {}", path.display())).with_source(error);
    let mut file = File::open(path).map_err(cannot)?;
    let mut start = Vec::new();
    (&mut file).take(2).read_to_end(&mut start).map_err(cannot)?;
    file.rewind().map_err(cannot)?;
    let watched = Watched(BufReader::new(file), abandoned);
    let plain: Box<dyn Read + '_> =
        if start == GZIP { Box::new(MultiGzDecoder::new(BufReader::new(watched))) } else { Box::new(watched) };
    let json = metadata(plain).map_err(cannot)?;
    let word = |name: &str| json[name].as_str().filter(|word| !word.is_empty()).map(str::to_owned);
    Ok(Said { provider: word("provider"), architecture: word("architecture") })
}

fn metadata(archive: Box<dyn Read + '_>) -> io::Result<Json> {
    for entry in tar::Archive::new(archive).entries()?.take(MAX_MEMBERS) {
        let entry = entry?;
        let is_metadata = {
            let path = entry.path()?;
            path.strip_prefix("./").unwrap_or(&path) == Path::new("metadata.json")
        };
        if !is_metadata {
            continue;
        }
        let mut text = Vec::new();
        entry.take(MAX_METADATA).read_to_end(&mut text)?;
        return serde_json::from_slice(&text).map_err(io::Error::from);
    }
    Err(io::Error::other("it has no metadata.json"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn box_of(members: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, text) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn said(bytes: &[u8]) -> Result<Said, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.box");
        std::fs::write(&path, bytes).unwrap();
        read(&path, &AtomicBool::new(false)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_box_says_its_provider_and_architecture_packed_or_not() {
        let bytes = box_of(&[("disk", "x"), ("./metadata.json", r#"{"provider":"libvirt","architecture":"amd64"}"#)]);
        let expected = Said { provider: Some("libvirt".to_owned()), architecture: Some("amd64".to_owned()) };
        assert_eq!(said(&bytes).unwrap(), expected);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes).unwrap();
        assert_eq!(said(&packed.finish().unwrap()).unwrap(), expected);
        assert_eq!(said(&box_of(&[("metadata.json", "{}")])).unwrap(), Said::default());
    }

    #[test]
    fn what_is_no_box_is_told() {
        assert!(said(&box_of(&[("a", "b")])).unwrap_err().contains("no metadata.json"));
        assert!(said(&box_of(&[("metadata.json", "{")])).unwrap_err().contains("cannot read the box"));
        assert!(said(b"rubbish").is_err());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.box");
        std::fs::write(&path, box_of(&[("metadata.json", "{}")])).unwrap();
        let error = read(&path, &AtomicBool::new(true)).unwrap_err().to_string();
        assert!(error.contains("nobody waits"), "{error}");
    }
}
