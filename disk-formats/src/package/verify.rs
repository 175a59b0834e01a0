//! Checks files against what lists them: an OVF package or OVA against its manifest, and any files against a checksum file.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::archive::{beside, files, only};
use super::content::Content;
use super::manifest::{self, Entry};
use super::ovf_reader::Descriptor;
use super::tar_members::{MemberKind, is_tar};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::reading::source_file::SourceFile;
use crate::writing::file_digest::{DigestAlgorithm, FileHasher};
use crate::writing::progress::Progress;

/// Largest manifest or descriptor in bytes that is read.
const MAX_TEXT: u64 = 16 << 20;
/// Most parts of a file in chunks.
const MAX_CHUNKS: usize = 1024;
/// Bytes hashed at once.
const BUFFER: usize = 1 << 20;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verification {
    /// The files whose digests are right, in the order of the list.
    pub verified: Vec<VerifiedFile>,
    /// All that is wrong; empty when everything is as listed.
    pub problems: Vec<VerifyProblem>,
}

/// A file that is as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedFile {
    /// Its name as listed.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// What it was checked with.
    pub algorithm: DigestAlgorithm,
}

/// Something that is not as listed. Displays as one sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProblem {
    /// The file concerned, as it is named in the list or descriptor; control characters are escaped when displayed.
    pub name: String,
    /// Line of the list, counted from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub kind: VerifyProblemKind,
}

/// What can be wrong with a listed file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyProblemKind {
    /// The line is no digest with a name.
    BadLine,
    /// Two lines list the file with one algorithm but different digests, or the archive holds two files of the name.
    Duplicate,
    /// The name leads out of the list's directory; the file was not opened.
    Escapes,
    /// The file is not there.
    Missing,
    /// The file is there but cannot be read, or is no regular file; with the reason.
    Unreadable(String),
    /// The content is another.
    WrongDigest {
        /// What it was checked with.
        algorithm: DigestAlgorithm,
        /// The digest listed.
        expected: String,
        /// The digest of the file.
        found: String,
    },
    /// The OVF descriptor gives another length, in bytes.
    WrongSize {
        /// What the descriptor says.
        expected: u64,
        /// The file's.
        found: u64,
    },
    /// The package uses the file, but its manifest does not list it.
    Unlisted,
    /// The manifest lists the file, but the package does not use it.
    Unreferenced,
    /// There is no manifest.
    NoManifest,
}

impl fmt::Display for VerifyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name.escape_debug())?;
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        match &self.kind {
            VerifyProblemKind::BadLine => f.write_str(": not a line with a digest and a name"),
            VerifyProblemKind::Duplicate => f.write_str(": is there twice"),
            VerifyProblemKind::Escapes => f.write_str(": the name leads out of the directory"),
            VerifyProblemKind::Missing => f.write_str(": the file is missing"),
            VerifyProblemKind::Unreadable(reason) => write!(f, ": cannot be read: {reason}"),
            VerifyProblemKind::WrongDigest { algorithm, expected, found } => {
                write!(f, ": the {algorithm} is {found}, not {expected}")
            }
            VerifyProblemKind::WrongSize { expected, found } => {
                write!(f, ": the file has {found} bytes, but the descriptor says {expected}")
            }
            VerifyProblemKind::Unlisted => {
                f.write_str(": the package uses this file, but its manifest does not list it")
            }
            VerifyProblemKind::Unreferenced => {
                f.write_str(": the manifest lists this file, but the package does not use it")
            }
            VerifyProblemKind::NoManifest => f.write_str(": the package has no manifest"),
        }
    }
}

/// Checks the files of a package or checksum file; all problems are found at once.
///
/// `path` is an OVF descriptor (`name.ovf` with `name.mf` beside it), its manifest, an OVA, or a file of digests as
/// `sha256sum`, `openssl dgst` and Packer's `checksum` post-processor write them (MD5, SHA-1 and all of SHA-2, told apart by
/// name or length). Files are streamed; names in a list lead to no file outside the list's directory.
///
/// # Errors
/// When `path` itself cannot be read or is none of these, or `progress` says stop. What is wrong with listed files is not an
/// error but a problem in the result.
pub fn verify(path: &Path, progress: &dyn Progress) -> Result<Verification> {
    let list = list_of(path).map(List::find);
    list.and_then(|found| found.hash(progress)).map_err(|error| error.during(Operation::Verify).with_path(path))
}

/// Checks as [`verify`] does, but hashes nothing, and so takes no time: whether the files are there, and as long as the descriptor says.
///
/// # Errors
/// When `path` itself cannot be read or is none of what [`verify`] checks.
pub fn verify_presence(path: &Path) -> Result<Verification> {
    let list = list_of(path).map(List::find);
    list.map(Listed::without_digests).map_err(|error| error.during(Operation::Verify).with_path(path))
}

fn list_of(path: &Path) -> Result<List> {
    let file = SourceFile::open(path)?;
    if is_tar(&file)? {
        archive_list(file)
    } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ovf")) {
        package_list(path, &file, None)
    } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mf")) {
        let descriptor = path.with_extension("ovf");
        match SourceFile::open(&descriptor) {
            Ok(found) => package_list(&descriptor, &found, Some(&file)),
            Err(_) => checksum_list(path, &file, true),
        }
    } else {
        checksum_list(path, &file, false)
    }
}

/// Where listed files are.
enum Place {
    /// In a directory; `plain`: names may have no directories.
    Directory { path: PathBuf, plain: bool },
    /// In an archive, by name, seen from the descriptor of this name.
    Archive { file: SourceFile, descriptor: String, members: HashMap<String, Content> },
}

/// What a file must be.
struct List {
    place: Place,
    entries: Vec<(usize, Entry)>,
    /// Lengths by name where an OVF descriptor gives them, in its order.
    sizes: Vec<(String, Option<u64>)>,
    problems: Vec<VerifyProblem>,
}

/// A list, and its files as far as they are there, by name.
struct Listed {
    list: List,
    found: HashMap<String, Option<Found>>,
}

fn problem(name: &str, line: Option<usize>, kind: VerifyProblemKind) -> VerifyProblem {
    VerifyProblem { name: name.to_owned(), line, kind }
}

fn read_bytes(file: &SourceFile, content: &Content, what: &'static str) -> Result<Vec<u8>> {
    if content.len > MAX_TEXT {
        return Err(file.error(ErrorKind::TooLarge, format!("{what} is larger than 16 MiB")));
    }
    let mut bytes = vec![0; content.len as usize];
    content.read_at(file, 0, &mut bytes)?;
    Ok(bytes)
}

fn read_text(file: &SourceFile, content: &Content, what: &'static str) -> Result<String> {
    String::from_utf8(read_bytes(file, content, what)?).map_err(|error| {
        file.error(ErrorKind::Corrupt, format!("{what} is not text in utf-8"))
            .at(error.utf8_error().valid_up_to() as u64)
    })
}

fn whole(file: &SourceFile) -> Content {
    Content::whole(0, file.len())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn checksum_list(path: &Path, file: &SourceFile, plain: bool) -> Result<List> {
    let neither = || {
        file.error(ErrorKind::UnknownFormat, "neither an ovf package, an ova, nor a list of digests").with_hint(
            "give the .ovf, .ova or .mf, or a file such as SHA256SUMS; what is in a disk image is checked by `kiln image check`",
        )
    };
    // What is no text of that size, such as a disk image, was never meant to be a list.
    let text = read_text(file, &whole(file), "the list of digests").map_err(|error| {
        if matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Corrupt) { neither() } else { error }
    })?;
    let place = Place::Directory { path: directory_of(path).to_path_buf(), plain };
    let list = List::new(place, &text);
    if list.entries.is_empty() {
        return Err(neither());
    }
    Ok(list)
}

fn package_list(descriptor: &Path, file: &SourceFile, manifest: Option<&SourceFile>) -> Result<List> {
    let place = Place::Directory { path: directory_of(descriptor).to_path_buf(), plain: true };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = descriptor.with_extension("mf");
    let opened = match manifest {
        Some(_) => None,
        None => SourceFile::open(&path).ok(),
    };
    let mut list = match manifest.or(opened.as_ref()) {
        Some(manifest) => List::new(place, &read_text(manifest, &whole(manifest), "the manifest")?),
        None => List::without_manifest(place, &name(&path)),
    };
    let bytes = read_bytes(file, &whole(file), "the descriptor")?;
    list.reference(&name(descriptor), &bytes).map_err(|error| error.with_path(descriptor))?;
    Ok(list)
}

fn archive_list(file: SourceFile) -> Result<List> {
    let members = files(&file)?;
    let (mut places, mut duplicates) = (HashMap::new(), Vec::new());
    for member in members.iter().filter(|member| member.kind == MemberKind::File) {
        if places.insert(member.name.clone(), member.content.clone()).is_some() {
            duplicates.push(problem(&member.name, None, VerifyProblemKind::Duplicate));
        }
    }
    let manifest = only(&file, &members, "mf")?;
    let manifest_text = manifest.map(|member| read_text(&file, &member.content, "the manifest")).transpose()?;
    let descriptor = only(&file, &members, "ovf")?
        .ok_or_else(|| file.error(ErrorKind::Unsupported, "the archive has no descriptor (.ovf)").at(0))?;
    let bytes = read_bytes(&file, &descriptor.content, "the descriptor")?;
    let place = Place::Archive { file, descriptor: descriptor.name.clone(), members: places };
    let mut list = match manifest_text {
        Some(text) => List::new(place, &text),
        None => List::without_manifest(place, &format!("{}.mf", descriptor.name.trim_end_matches(".ovf"))),
    };
    list.problems.extend(duplicates);
    let name = descriptor.name.rsplit('/').next().unwrap_or_default();
    list.reference(name, &bytes)?;
    Ok(list)
}

impl List {
    fn new(place: Place, text: &str) -> Self {
        let mut list = Self { place, entries: Vec::new(), sizes: Vec::new(), problems: Vec::new() };
        let mut seen: HashMap<(String, DigestAlgorithm), String> = HashMap::new();
        for line in manifest::parse(text) {
            match line {
                Err(line) => list.problems.push(problem("the list", Some(line), VerifyProblemKind::BadLine)),
                Ok((line, entry)) => {
                    let known = seen.insert((entry.name.clone(), entry.algorithm), entry.digest.clone());
                    match known {
                        Some(digest) if digest == entry.digest => {}
                        Some(_) => list.problems.push(problem(&entry.name, Some(line), VerifyProblemKind::Duplicate)),
                        None => list.entries.push((line, entry)),
                    }
                }
            }
        }
        list
    }

    fn without_manifest(place: Place, name: &str) -> Self {
        let problems = vec![problem(name, None, VerifyProblemKind::NoManifest)];
        Self { place, entries: Vec::new(), sizes: Vec::new(), problems }
    }

    /// Compares the names listed with those that the package uses, and notes the lengths it gives.
    fn reference(&mut self, descriptor: &str, bytes: &[u8]) -> Result<()> {
        let mut used = vec![(descriptor.to_owned(), None)];
        for reference in Descriptor::read(bytes)?.references {
            match reference.chunk_size {
                // The parts of a file in chunks have names of their own.
                Some(_) if self.place.find(&reference.href).is_err() => {
                    let parts = (0..MAX_CHUNKS).map(|number| reference.chunk(number));
                    let there: Vec<_> = parts.take_while(|name| self.place.find(name).is_ok()).collect();
                    let sizes = there.iter().filter_map(|name| Some(self.place.find(name).ok()?.content.len)).sum();
                    if reference.size.is_some_and(|size| size > sizes) || there.is_empty() {
                        used.push((reference.chunk(there.len()), None));
                    }
                    used.extend(there.into_iter().map(|name| (name, None)));
                }
                _ => used.push((reference.href, reference.size)),
            }
        }
        let has_manifest = !self.problems.iter().any(|problem| problem.kind == VerifyProblemKind::NoManifest);
        if has_manifest {
            let listed: HashSet<&str> = self.entries.iter().map(|(_, entry)| entry.name.as_str()).collect();
            let names: HashSet<&str> = used.iter().map(|(name, _)| name.as_str()).collect();
            let unlisted = used.iter().filter(|(name, _)| !listed.contains(name.as_str()));
            self.problems.extend(unlisted.map(|(name, _)| problem(name, None, VerifyProblemKind::Unlisted)));
            let unreferenced = self.entries.iter().filter(|(_, entry)| !names.contains(entry.name.as_str()));
            self.problems.extend(
                unreferenced.map(|(line, entry)| problem(&entry.name, Some(*line), VerifyProblemKind::Unreferenced)),
            );
        }
        self.sizes = used;
        Ok(())
    }

    /// Looks for the files.
    fn find(mut self) -> Listed {
        let mut found: HashMap<String, Option<Found>> = HashMap::new();
        let names = self.entries.iter().map(|(line, entry)| (entry.name.clone(), Some(*line)));
        let names: Vec<_> = names.chain(self.sizes.iter().map(|(name, _)| (name.clone(), None))).collect();
        for (name, line) in names {
            if found.contains_key(&name) {
                continue;
            }
            let content = match self.place.find(&name) {
                Ok(content) => Some(content),
                Err(kind) => {
                    self.problems.push(problem(&name, line, kind));
                    None
                }
            };
            found.insert(name, content);
        }
        for (name, expected) in &self.sizes {
            if let (Some(expected), Some(Some(content))) = (*expected, found.get(name))
                && expected != content.size()
            {
                let kind = VerifyProblemKind::WrongSize { expected, found: content.size() };
                self.problems.push(problem(name, None, kind));
            }
        }
        Listed { list: self, found }
    }
}

impl Listed {
    fn without_digests(self) -> Verification {
        self.outcome(Vec::new())
    }

    fn outcome(self, verified: Vec<VerifiedFile>) -> Verification {
        let mut problems = self.list.problems;
        problems.sort_by(|a, b| (a.line, &a.name).cmp(&(b.line, &b.name)));
        Verification { verified, problems }
    }

    /// Compares the digests.
    fn hash(mut self, progress: &dyn Progress) -> Result<Verification> {
        let Self { list, found } = &mut self;
        let mut verified = Vec::new();
        let size_of = |entry: &Entry| found.get(&entry.name).and_then(Option::as_ref).map_or(0, Found::size);
        let mut work = Work { progress, done: 0, total: list.entries.iter().map(|(_, entry)| size_of(entry)).sum() };
        for (line, entry) in &list.entries {
            let Some(Some(content)) = found.get(&entry.name) else { continue };
            match content.hash(&list.place, entry.algorithm, &mut work) {
                Ok(digest) if digest == entry.digest => verified.push(VerifiedFile {
                    name: entry.name.clone(),
                    size: content.size(),
                    algorithm: entry.algorithm,
                }),
                Ok(digest) => {
                    let (algorithm, expected) = (entry.algorithm, entry.digest.clone());
                    let kind = VerifyProblemKind::WrongDigest { algorithm, expected, found: digest };
                    list.problems.push(problem(&entry.name, Some(*line), kind));
                }
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    let kind = VerifyProblemKind::Unreadable(error.to_string());
                    list.problems.push(problem(&entry.name, Some(*line), kind));
                }
            }
        }
        Ok(self.outcome(verified))
    }
}

/// How far the hashing is.
struct Work<'a> {
    progress: &'a dyn Progress,
    done: u64,
    total: u64,
}

/// A file that was found.
struct Found {
    /// `None`: the archive itself.
    file: Option<SourceFile>,
    content: Content,
}

impl Place {
    fn find(&self, name: &str) -> Result<Found, VerifyProblemKind> {
        match self {
            Self::Archive { descriptor, members, .. } => match beside(descriptor, name).and_then(|at| members.get(&at))
            {
                Some(content) => Ok(Found { file: None, content: content.clone() }),
                None => Err(VerifyProblemKind::Missing),
            },
            Self::Directory { path, plain } => {
                let inside =
                    Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
                if !inside || name.contains('\0') || (*plain && name.contains(['/', '\\'])) {
                    return Err(VerifyProblemKind::Escapes);
                }
                let unreadable = |error: std::io::Error| match error.kind() {
                    std::io::ErrorKind::NotFound => VerifyProblemKind::Missing,
                    _ => VerifyProblemKind::Unreadable(error.to_string()),
                };
                let directory = path.canonicalize().map_err(unreadable)?;
                let resolved = directory.join(name).canonicalize().map_err(unreadable)?;
                // A symbolic link may stay inside only.
                if !resolved.starts_with(&directory) {
                    return Err(VerifyProblemKind::Escapes);
                }
                if !resolved.metadata().map_err(unreadable)?.is_file() {
                    return Err(VerifyProblemKind::Unreadable("not a regular file".to_owned()));
                }
                let file =
                    SourceFile::open(&resolved).map_err(|error| VerifyProblemKind::Unreadable(error.to_string()))?;
                let content = whole(&file);
                Ok(Found { file: Some(file), content })
            }
        }
    }
}

impl Found {
    fn size(&self) -> u64 {
        self.content.len
    }

    fn hash(&self, place: &Place, algorithm: DigestAlgorithm, work: &mut Work<'_>) -> Result<String> {
        let file = match (&self.file, place) {
            (Some(file), _) | (None, Place::Archive { file, .. }) => file,
            (None, Place::Directory { .. }) => return Err(Error::unsupported("no file to be read")),
        };
        let (mut hasher, mut buffer) = (FileHasher::new(algorithm), vec![0; BUFFER]);
        let mut position = 0;
        while position < self.size() {
            if work.progress.advance(work.done, work.total).is_break() {
                return Err(Error::cancelled(Operation::Verify));
            }
            let length = (self.size() - position).min(BUFFER as u64) as usize;
            self.content.read_at(file, position, &mut buffer[..length])?;
            hasher.update(&buffer[..length]);
            position += length as u64;
            work.done += length as u64;
        }
        Ok(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_image_is_said_to_be_no_list() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("web.vhdx");
        for (length, begins) in [(MAX_TEXT + 1, &b"vhdxfile"[..]), (4, b"\xff\xfe\xff\xfe"), (6, b"a list")] {
            std::fs::write(&path, begins).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            let error = verify_presence(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnknownFormat, "{length}: {error}");
            assert!(error.hint().unwrap().contains("kiln image check"), "{error}");
        }
    }
}
