//! The checksum post-processor: one file of digests per type.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use super::context::{PostProcessContext, Processed, base_name};
use super::new_file;
use crate::artifact::{Artifact, Ownership};
use crate::blocking::blocking;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

/// The types there are.
pub(crate) const TYPES: [&str; 6] = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

pub(crate) async fn run(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let template = options.text("output").unwrap_or_default();
    let mut outputs = Vec::new();
    for kind in options.texts("checksum_types") {
        let fields = [
            ("BuildName", context.source_name.as_str()),
            ("BuilderType", context.source_type.as_str()),
            ("ChecksumType", kind.as_str()),
        ];
        let output = PathBuf::from(renderer.render(&template, &fields)?);
        new_file::refuse_input(&output, input)?;
        outputs.push((kind.clone(), output));
    }
    let inputs = input.files.clone();
    let made: BTreeSet<PathBuf> =
        if inputs.is_empty() { BTreeSet::new() } else { outputs.iter().map(|(_, path)| path.clone()).collect() };
    let sources = inputs.clone();
    blocking("writing checksums", move |_| write(&sources, &outputs))
        .await
        .map_err(|error| StepError::new("cannot write checksums").with_source(error))?;
    let mut files = inputs;
    files.extend(made);
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let artifact = Artifact {
        builder_id: "packer.post-processor.checksum".to_owned(),
        id: String::new(),
        text: format!("Created artifact from files: {}", names.join(", ")),
        ownership: Ownership::Files(files.clone()),
        files,
    };
    Ok(Processed { artifact, keep_input: true, force_keep: true })
}

/// Reads all files before it writes a line, so that a second try after one that could not be read writes no line twice.
fn write(inputs: &[PathBuf], outputs: &[(String, PathBuf)]) -> io::Result<()> {
    let about = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let kinds: Vec<&str> = outputs.iter().map(|(kind, _)| kind.as_str()).collect();
    let mut texts = vec![String::new(); outputs.len()];
    for input in inputs {
        let digests = digests(input, &kinds).map_err(|error| about(input, error))?;
        for (text, digest) in texts.iter_mut().zip(digests) {
            text.push_str(&format!("{digest}\t{}\n", base_name(input)));
        }
    }
    for (text, (_, output)) in texts.iter().zip(outputs).filter(|(text, _)| !text.is_empty()) {
        append(output, text).map_err(|error| about(output, error))?;
    }
    Ok(())
}

/// Packer appends, so that several builds may share one file; one write keeps their lines apart.
fn append(output: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = output.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().append(true).create(true).open(output)?.write_all(text.as_bytes())
}

enum Hasher {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    fn new(kind: &str) -> io::Result<Self> {
        Ok(match kind {
            "md5" => Self::Md5(md5::Md5::new()),
            "sha1" => Self::Sha1(sha1::Sha1::new()),
            "sha224" => Self::Sha224(sha2::Sha224::new()),
            "sha256" => Self::Sha256(sha2::Sha256::new()),
            "sha384" => Self::Sha384(sha2::Sha384::new()),
            "sha512" => Self::Sha512(sha2::Sha512::new()),
            other => return Err(io::Error::other(format!("Unrecognized checksum type: {other}"))),
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha224(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn hex(self) -> String {
        let bytes = match self {
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha224(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha384(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The digests of one file, read once.
fn digests(path: &Path, kinds: &[&str]) -> io::Result<Vec<String>> {
    let mut hashers = kinds.iter().map(|kind| Hasher::new(kind)).collect::<io::Result<Vec<_>>>()?;
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hashers.into_iter().map(Hasher::hex).collect());
        }
        for hasher in &mut hashers {
            hasher.update(&buffer[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_packers_lines_and_appends() {
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("disk.img");
        std::fs::write(&input, "abc").unwrap();
        let outputs = [
            ("md5".to_owned(), directory.path().join("sums/md5")),
            ("sha256".to_owned(), directory.path().join("sums/sha256")),
        ];
        write(std::slice::from_ref(&input), &outputs).unwrap();
        write(std::slice::from_ref(&input), &outputs).unwrap();
        let line = "900150983cd24fb0d6963f7d28e17f72\tdisk.img\n";
        assert_eq!(std::fs::read_to_string(&outputs[0].1).unwrap(), line.repeat(2));
        assert!(
            std::fs::read_to_string(&outputs[1].1)
                .unwrap()
                .starts_with("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\t")
        );
    }
    #[test]
    fn a_file_that_cannot_be_read_leaves_no_line_of_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let (good, bad) = (directory.path().join("good"), directory.path().join("bad"));
        std::fs::write(&good, "abc").unwrap();
        let outputs = [("md5".to_owned(), directory.path().join("md5"))];
        let error = write(&[good.clone(), bad.clone()], &outputs).unwrap_err();
        assert!(error.to_string().starts_with(bad.to_str().unwrap()), "{error}");
        assert!(!outputs[0].1.exists());
        std::fs::write(&bad, "abc").unwrap();
        write(&[good, bad], &outputs).unwrap();
        assert_eq!(std::fs::read_to_string(&outputs[0].1).unwrap().lines().count(), 2);
    }
}
