//! The images that a user's builds have left on this machine, by name and channel: a small file for each, in the user's own directory. The
//! post-processor `kiln-image` writes it, the data source of the same name reads it.
//!
//! The user's worker reads and writes them with the user's rights, also where one daemon serves everybody: nobody sees another's.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{atomic_file, regular_file};

mod forget;

pub use self::forget::{forget_image, forget_unusable_images};

/// The longest name.
const MAX_NAME: usize = 100;

/// The largest file of a record; one has some hundred bytes.
const MAX_RECORD: u64 = 64 << 10;

/// The most names that an error lists.
const MAX_LISTED: usize = 50;

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Its file, absolute.
    pub path: PathBuf,
    /// `qcow2`, `raw`, …; of other files, the ending of their name.
    pub format: String,
    /// `sha256:…` of the file.
    pub checksum: String,
    /// The file's length in bytes.
    pub size: u64,
    /// The build that made it: `qemu.web`.
    pub build: String,
    /// One for all builds of a job: `PackerRunUUID`.
    pub run_uuid: String,
    /// When, as RFC 3339 has it.
    pub created: String,
}

/// The records of one user.
#[derive(Debug, Clone)]
pub(crate) struct ImageRegistry {
    directory: PathBuf,
}

/// An image in a channel, as people are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedImage {
    /// Its name.
    pub name: String,
    /// The channel.
    pub channel: String,
    /// Its file, absolute; empty when the record cannot be read.
    pub path: PathBuf,
    /// `qcow2`, `raw`, …
    pub format: String,
    /// `sha256:…` of the file.
    pub checksum: String,
    /// The file's length in bytes when it was registered.
    pub size: u64,
    /// The build that made it.
    pub build: String,
    /// When, as RFC 3339 has it.
    pub created: String,
    /// Why no build can begin with it; `None`: one can.
    pub unusable: Option<String>,
}

impl ListedImage {
    /// As it is written; its file is not looked at.
    fn of(name: String, channel: String, record: ImageRecord) -> Self {
        let ImageRecord { path, format, checksum, size, build, created, .. } = record;
        Self { name, channel, path, format, checksum, size, build, created, unusable: None }
    }
}

/// All images that the user of this process has registered, by name and channel.
#[must_use]
pub fn registered_images() -> Vec<ListedImage> {
    ImageRegistry::of_user().map(|registry| registry.list()).unwrap_or_default()
}

impl ImageRegistry {
    /// All images, by name and channel.
    fn list(&self) -> Vec<ListedImage> {
        let names = names_in(&self.directory).into_iter();
        names
            .flat_map(|name| self.channels(&name).into_iter().map(move |channel| (name.clone(), channel)))
            .map(|(name, channel)| self.listed(name, channel))
            .collect()
    }

    fn listed(&self, name: String, channel: String) -> ListedImage {
        let unusable = self.find(&name, &channel).err();
        match self.read(&name, &channel) {
            Ok(record) => ListedImage { unusable, ..ListedImage::of(name, channel, record) },
            Err(_) => ListedImage { name, channel, unusable, ..ListedImage::default() },
        }
    }

    fn channels(&self, name: &str) -> Vec<String> {
        let files = names_in(&self.directory.join(name)).into_iter();
        files.filter_map(|file| file.strip_suffix(".json").map(str::to_owned)).collect()
    }

    /// The one of the user whose environment this process has; `None`: the user has no home.
    pub(crate) fn of_user() -> Option<Self> {
        Self::of_environment(|name| std::env::var_os(name))
    }

    fn of_environment(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let given = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state")))?;
        Some(Self { directory: state.join("kiln/images") })
    }

    #[cfg(test)]
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Puts an image into a channel, in the place of the one that was there. The image itself is left where it is.
    pub(crate) fn put(&self, name: &str, channel: &str, record: &ImageRecord) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
        atomic_file::write(&self.place(name, channel), &text, 0o600)
    }

    /// The image in a channel, whose file is there and as long as it was.
    ///
    /// # Errors
    ///
    /// What is wrong, and what there is, in words.
    pub(crate) fn find(&self, name: &str, channel: &str) -> Result<ImageRecord, String> {
        for (what, word) in [("name", name), ("channel", channel)] {
            if let Some(problem) = problem_of(word) {
                return Err(format!("the {what} {word:?} {problem}"));
            }
        }
        let record = match self.read(name, channel) {
            Ok(record) => record,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("there is no image {name:?} in the channel {channel:?}; {}", self.told()));
            }
            Err(error) => return Err(format!("{} cannot be read: {error}", self.place(name, channel).display())),
        };
        look_at(name, &record).map_err(|unfit| unfit.told)?;
        Ok(record)
    }

    /// The format of the registered image that `path` is, as the build said that made it: what is in the file may be its guest's word.
    pub(crate) fn format_of(&self, path: &Path) -> Option<String> {
        self.format_by(path, |path| Some(path.metadata().ok()?.len()))
    }

    fn format_by(&self, path: &Path, size_of: impl Fn(&Path) -> Option<u64>) -> Option<String> {
        let path = std::path::absolute(path).ok()?;
        // No other image is looked at: it may lie on a server that never answers.
        let mut of_path = self.records().filter(|image| image.path == path).peekable();
        of_path.peek()?;
        let size = size_of(&path)?;
        of_path.find(|image| image.size == size).map(|image| image.format)
    }

    /// What is written of all images; whether they are there is not looked at.
    fn records(&self) -> impl Iterator<Item = ImageRecord> {
        names_in(&self.directory)
            .into_iter()
            .flat_map(move |name| self.channels(&name).into_iter().map(move |channel| (name.clone(), channel)))
            .filter_map(move |(name, channel)| self.read(&name, &channel).ok())
    }

    fn read(&self, name: &str, channel: &str) -> io::Result<ImageRecord> {
        Self::read_at(&self.place(name, channel))
    }

    fn read_at(place: &Path) -> io::Result<ImageRecord> {
        let file = regular_file::open_to_read(place)?;
        let mut text = Vec::new();
        file.take(MAX_RECORD).read_to_end(&mut text)?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    fn place(&self, name: &str, channel: &str) -> PathBuf {
        self.directory.join(name).join(format!("{channel}.json"))
    }

    /// All there are, as `name (channels)`.
    fn told(&self) -> String {
        let mut all: Vec<String> = names_in(&self.directory)
            .into_iter()
            .filter_map(|name| {
                let channels = self.channels(&name);
                (!channels.is_empty()).then(|| format!("{name} ({})", channels.join(", ")))
            })
            .collect();
        if all.is_empty() {
            return "there is none at all: the post-processor kiln-image registers what a build has left".to_owned();
        }
        let left_out = all.len().saturating_sub(MAX_LISTED);
        all.truncate(MAX_LISTED);
        if left_out > 0 {
            all.push(format!("and {left_out} more"));
        }
        format!("there are: {}", all.join(", "))
    }
}

/// Why no build can begin with an image.
struct Unfit {
    told: String,
    /// Whether the file is known to be gone, or to be another: not only out of reach.
    is_gone: bool,
}

/// Looks whether the image's file is there, and as long as it was.
fn look_at(name: &str, record: &ImageRecord) -> Result<(), Unfit> {
    let shown = record.path.display();
    let gone = |told: String| Err(Unfit { told, is_gone: true });
    match std::fs::metadata(&record.path) {
        Ok(found) if !found.is_file() => gone(format!("the image {name:?} was the file {shown}, which is none now")),
        Ok(found) if found.len() != record.size => gone(format!(
            "the image {name:?} was {shown} with {} bytes, which has {} now: build it again",
            record.size,
            found.len()
        )),
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            gone(format!("the image {name:?} was {shown}, which cannot be found: {error}: build it again"))
        }
        Err(error) => {
            let told = format!("the image {name:?} is {shown}, which cannot be looked at: {error}");
            Err(Unfit { told, is_gone: false })
        }
    }
}

/// Names in a directory that are words of ours, in order; none when it cannot be read.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| problem_of(name).is_none()).collect();
    names.sort();
    names
}

/// What is wrong with a name or a channel, which becomes the name of a file.
pub(crate) fn problem_of(word: &str) -> Option<&'static str> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if word.is_empty() || word.starts_with('.') {
        Some("is empty or begins with a dot")
    } else if word.len() > MAX_NAME {
        Some("has more than 100 letters")
    } else if !word.chars().all(plain) {
        Some("has other letters than A to Z, a to z, 0 to 9, `.`, `_` and `-`")
    } else {
        None
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(path: &Path, size: u64) -> ImageRecord {
        ImageRecord {
            path: path.to_owned(),
            format: "qcow2".to_owned(),
            checksum: "sha256:00".to_owned(),
            size,
            build: "qemu.web".to_owned(),
            run_uuid: "1".to_owned(),
            created: "2026-11-30T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn images_are_found_by_name_and_channel() {
        let scratch = tempfile::tempdir().unwrap();
        let registry = ImageRegistry::at(&scratch.path().join("images"));
        let error = registry.find("base", "latest").unwrap_err();
        assert!(error.contains("there is none at all"), "{error}");
        let image = scratch.path().join("disk");
        std::fs::write(&image, "12345").unwrap();
        registry.put("base", "latest", &record(&image, 5)).unwrap();
        registry.put("base", "stable", &record(&image, 5)).unwrap();
        registry.put("web", "latest", &record(&image, 5)).unwrap();
        assert_eq!(registry.find("base", "stable").unwrap(), record(&image, 5));
        assert_eq!(registry.format_of(&scratch.path().join("./disk")).as_deref(), Some("qcow2"));
        assert_eq!(registry.format_of(scratch.path()), None);
        let error = registry.find("bas", "latest").unwrap_err();
        assert!(error.ends_with("there are: base (latest, stable), web (latest)"), "{error}");
        std::fs::write(&image, "123").unwrap();
        assert!(registry.find("base", "latest").unwrap_err().contains("with 5 bytes, which has 3 now"));
        std::fs::remove_file(&image).unwrap();
        assert!(registry.find("base", "latest").unwrap_err().contains("build it again"));
    }

    /// The file system of another may never answer, and whoever asks it waits for ever.
    #[test]
    fn no_image_is_looked_at_but_the_one_that_is_asked_about() {
        let scratch = tempfile::tempdir().unwrap();
        let registry = ImageRegistry::at(&scratch.path().join("images"));
        let (asked, other) = (scratch.path().join("asked"), scratch.path().join("server/other"));
        for (name, path) in [("a", &other), ("b", &asked), ("c", &other)] {
            registry.put(name, "latest", &record(path, 5)).unwrap();
        }
        let looks = std::cell::RefCell::new(Vec::new());
        let size_of = |path: &Path| {
            looks.borrow_mut().push(path.to_owned());
            Some(5)
        };
        assert_eq!(registry.format_by(&asked, size_of).as_deref(), Some("qcow2"));
        assert_eq!(*looks.borrow(), [asked]);
        assert_eq!(registry.format_by(&scratch.path().join("unknown"), size_of), None);
        assert_eq!(looks.borrow().len(), 1, "what is not registered is not looked at");
    }

    #[test]
    fn images_are_listed_with_what_is_wrong() {
        let scratch = tempfile::tempdir().unwrap();
        let registry = ImageRegistry::at(&scratch.path().join("images"));
        assert_eq!(registry.list(), []);
        let (kept, gone) = (scratch.path().join("kept"), scratch.path().join("gone"));
        std::fs::write(&kept, "12345").unwrap();
        for (name, channel, path) in
            [("base", "latest", &kept), ("base", "stable", &kept), ("old", "latest", &gone), ("odd", "latest", &kept)]
        {
            registry.put(name, channel, &record(path, 5)).unwrap();
        }
        std::fs::write(registry.place("odd", "latest"), "{").unwrap();
        let told = |listed: &[ListedImage]| {
            let one = |image: &ListedImage| format!("{}@{} {}", image.name, image.channel, image.unusable.is_none());
            listed.iter().map(one).collect::<Vec<_>>()
        };
        let all = ["base@latest true", "base@stable true", "odd@latest false", "old@latest false"];
        assert_eq!(told(&registry.list()), all);
        assert!(registry.list()[3].unusable.as_deref().unwrap().contains("build it again"));
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        let registry = ImageRegistry::at(Path::new("/nonexistent"));
        for word in ["", ".", "..", "../x", "a/b", "a b", "\u{1b}", &"x".repeat(101)] {
            assert!(problem_of(word).is_some(), "{word:?}");
            assert!(registry.find(word, "latest").unwrap_err().starts_with("the name"), "{word:?}");
            assert!(registry.find("base", word).unwrap_err().starts_with("the channel"), "{word:?}");
        }
        assert_eq!(problem_of("Debian-12.5_base"), None);
    }

    #[test]
    fn a_record_that_is_none_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let registry = ImageRegistry::at(scratch.path());
        std::fs::create_dir(scratch.path().join("base")).unwrap();
        std::fs::write(scratch.path().join("base/latest.json"), "{").unwrap();
        assert!(registry.find("base", "latest").unwrap_err().contains("cannot be read"));
        let fifo = scratch.path().join("base/stable.json");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(registry.find("base", "stable").unwrap_err().contains("fifo"));
    }

    #[test]
    fn each_user_has_a_directory() {
        let of = |pairs: &[(&str, &str)]| {
            let found = ImageRegistry::of_environment(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            });
            found.map(|registry| registry.directory.display().to_string())
        };
        assert_eq!(of(&[("HOME", "/home/u")]).unwrap(), "/home/u/.local/state/kiln/images");
        assert_eq!(of(&[("HOME", "/home/u"), ("XDG_STATE_HOME", "/s")]).unwrap(), "/s/kiln/images");
        assert_eq!(of(&[("XDG_STATE_HOME", "relative")]), None);
    }
}
