//! Forgetting images: those that are named, whatever has become of them, and those whose file is gone.
//!
//! Whoever names an image may do so because its file lies on a server that never answers: the file is not looked at. Whoever asks for those that
//! are gone may do so while a build makes one of them anew: a record goes only as the very one that was judged.

use std::io;

use super::{ImageRecord, ImageRegistry, ListedImage, look_at, names_in, problem_of};

/// Forgets the image `NAME` in all its channels, or `NAME@CHANNEL` in one; returns what was forgotten. Files of images stay, and are not
/// looked at.
///
/// # Errors
///
/// There is none, or it cannot be forgotten.
pub fn forget_image(image: &str) -> Result<Vec<ListedImage>, String> {
    let registry =
        ImageRegistry::of_user().ok_or("there is no registry of a user without a home: set HOME or XDG_STATE_HOME")?;
    registry.forget(image)
}

/// Forgets every image whose file is gone, or is another by now; what each attempt came to. An image that cannot be judged stays, and is told.
#[must_use]
pub fn forget_unusable_images() -> Vec<Result<Vec<ListedImage>, String>> {
    ImageRegistry::of_user().map(|registry| registry.prune()).unwrap_or_default()
}

impl ImageRegistry {
    fn forget(&self, image: &str) -> Result<Vec<ListedImage>, String> {
        let (name, channel) = match image.split_once('@') {
            Some((name, channel)) => (name, Some(channel)),
            None => (image, None),
        };
        for (what, word) in [("name", Some(name)), ("channel", channel)] {
            if let Some((word, problem)) = word.and_then(|word| Some((word, problem_of(word)?))) {
                return Err(format!("the {what} {word:?} {problem}"));
            }
        }
        let channels = self.channels(name);
        let meant: Vec<_> = channels.into_iter().filter(|known| channel.is_none_or(|wanted| wanted == known)).collect();
        if meant.is_empty() {
            return Err(format!("there is no image {image:?}; {}", self.told()));
        }
        let mut forgotten = Vec::new();
        for channel in meant {
            let place = self.place(name, &channel);
            let unreadable = |error: io::Error| Some(format!("{} cannot be read: {error}", place.display()));
            let listed = match self.read(name, &channel) {
                Ok(record) => ListedImage::of(name.to_owned(), channel, record),
                Err(error) => {
                    let name = name.to_owned();
                    ListedImage { name, channel, unusable: unreadable(error), ..ListedImage::default() }
                }
            };
            match std::fs::remove_file(&place) {
                // Another was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => {
                    removed.map_err(|error| format!("{} cannot be removed: {error}", place.display()))?;
                    forgotten.push(listed);
                }
            }
        }
        // Of the last channel; another's may have come meanwhile.
        let _ = std::fs::remove_dir(self.directory.join(name));
        Ok(forgotten)
    }

    fn prune(&self) -> Vec<Result<Vec<ListedImage>, String>> {
        let mut done = Vec::new();
        for name in names_in(&self.directory) {
            for channel in self.channels(&name) {
                let pruned = self.forget_if_gone(&name, &channel).transpose();
                done.extend(pruned.map(|result| result.map(|image| vec![image])));
            }
            // Of the last channel; another's may have come meanwhile.
            let _ = std::fs::remove_dir(self.directory.join(name));
        }
        done
    }

    /// Forgets one image if its file is gone; `None`: it is there, or the record is another's work by now.
    fn forget_if_gone(&self, name: &str, channel: &str) -> Result<Option<ListedImage>, String> {
        let stays = |why: String| format!("{name}@{channel} stays: {why}");
        let record = match self.read(name, channel) {
            Ok(record) => record,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let why = format!("{} cannot be read: {error}", self.place(name, channel).display());
                return Err(stays(format!("{why}; `kiln images rm {name}@{channel}` forgets it")));
            }
        };
        let unfit = match look_at(name, &record) {
            Ok(()) => return Ok(None),
            Err(unfit) if !unfit.is_gone => return Err(stays(unfit.told)),
            Err(unfit) => unfit,
        };
        let is_gone = self
            .remove_this(name, channel, &record)
            .map_err(|error| format!("{} cannot be removed: {error}", self.place(name, channel).display()))?;
        let listed = ListedImage::of(name.to_owned(), channel.to_owned(), record);
        Ok(is_gone.then_some(ListedImage { unusable: Some(unfit.told), ..listed }))
    }

    /// Removes a record if it is still this one; one that a build has put there meanwhile stays. It is looked at under a name that nobody
    /// replaces.
    fn remove_this(&self, name: &str, channel: &str, judged: &ImageRecord) -> io::Result<bool> {
        let place = self.place(name, channel);
        // Nobody lists what begins with a dot.
        let aside = place.with_file_name(format!(".{channel}.{}", uuid::Uuid::new_v4().simple()));
        match std::fs::rename(&place, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            renamed => renamed?,
        }
        let is_judged = Self::read_at(&aside).is_ok_and(|record| record == *judged);
        if !is_judged {
            match std::fs::hard_link(&aside, &place) {
                // One that is newer still.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // The record is in `aside`.
                linked => linked.map_err(|error| {
                    io::Error::new(error.kind(), format!("a newer one lies at {} now: {error}", aside.display()))
                })?,
            }
        }
        std::fs::remove_file(&aside)?;
        Ok(is_judged)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn told(listed: &[ListedImage]) -> Vec<String> {
        let one = |image: &ListedImage| format!("{}@{} {}", image.name, image.channel, image.unusable.is_none());
        listed.iter().map(one).collect()
    }

    #[test]
    fn images_are_forgotten_without_their_files_which_are_not_looked_at() {
        let scratch = tempfile::tempdir().unwrap();
        let registry = ImageRegistry::at(&scratch.path().join("images"));
        let (kept, gone) = (scratch.path().join("kept"), scratch.path().join("gone"));
        std::fs::write(&kept, "12345").unwrap();
        for (name, channel, path) in
            [("base", "latest", &kept), ("base", "stable", &kept), ("old", "latest", &gone), ("odd", "latest", &kept)]
        {
            registry.put(name, channel, &record(path, 5)).unwrap();
        }
        std::fs::write(registry.place("odd", "latest"), "{").unwrap();
        assert_eq!(told(&registry.forget("base@stable").unwrap()), ["base@stable true"]);
        assert_eq!(told(&registry.forget("odd").unwrap()), ["odd@latest false"]);
        // Nothing is said of its file, for nobody has looked.
        assert_eq!(told(&registry.forget("old").unwrap()), ["old@latest true"]);
        assert!(!scratch.path().join("images/old").exists());
        assert_eq!(told(&registry.list()), ["base@latest true"]);
        assert!(kept.exists(), "the image stays");
        for (image, words) in
            [("base@stable", "there are: base (latest)"), ("../x", "the name"), ("base@", "the channel")]
        {
            assert!(registry.forget(image).unwrap_err().contains(words), "{image}");
        }
    }

    #[test]
    fn only_what_is_known_to_be_gone_is_pruned() {
        let scratch = tempfile::tempdir().unwrap();
        let registry = ImageRegistry::at(&scratch.path().join("images"));
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at("kept"), "12345").unwrap();
        std::fs::write(at("shorter"), "1").unwrap();
        // Looking at it ends in ELOOP, also for root: as with a mount that does not answer, nothing is known of the file.
        std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
        for (name, path) in [
            ("a", at("kept")),
            ("b", at("gone")),
            ("c", at("shorter")),
            ("d", at("kept/below")),
            ("e", scratch.path().to_owned()),
            ("f", at("loop/image")),
            ("g", at("kept")),
        ] {
            registry.put(name, "latest", &record(&path, 5)).unwrap();
        }
        std::fs::write(registry.place("g", "latest"), "{").unwrap();
        let (done, failed): (Vec<_>, Vec<_>) = registry.prune().into_iter().partition(Result::is_ok);
        let done: Vec<_> = done.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(told(&done), ["b@latest false", "c@latest false", "d@latest false", "e@latest false"]);
        let failed: Vec<_> = failed.into_iter().map(Result::unwrap_err).collect();
        assert!(failed[0].starts_with("f@latest stays: ") && failed[0].contains("cannot be looked at"), "{failed:?}");
        assert!(failed[1].starts_with("g@latest stays: ") && failed[1].contains("images rm g@latest"), "{failed:?}");
        assert_eq!(told(&registry.list()), ["a@latest true", "f@latest false", "g@latest false"]);
    }

    #[test]
    fn a_record_that_a_build_has_put_there_meanwhile_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let registry = ImageRegistry::at(&scratch.path().join("images"));
        let (old, new) = (record(&scratch.path().join("old"), 5), record(&scratch.path().join("new"), 7));
        registry.put("web", "latest", &old).unwrap();
        registry.put("web", "latest", &new).unwrap();
        assert!(!registry.remove_this("web", "latest", &old).unwrap());
        assert_eq!(registry.read("web", "latest").unwrap(), new);
        assert!(registry.remove_this("web", "latest", &new).unwrap());
        assert!(!registry.remove_this("web", "latest", &new).unwrap(), "another was faster");
        let left = std::fs::read_dir(scratch.path().join("images/web")).unwrap().count();
        assert_eq!(left, 0, "nothing is left aside");
    }
}
