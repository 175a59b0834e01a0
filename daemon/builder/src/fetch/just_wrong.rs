//! Downloads that have just turned out wrong, for the builds of this job that waited for them meanwhile: what they would get is the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::checksum::{Checksum, Digest};
use super::error::UrlError;
use super::location::RemoteUrl;

/// By file and URL, which is kept whole: another token or login may get another file. Nothing shows it.
static FOUND: Mutex<BTreeMap<(PathBuf, String), Found>> = Mutex::new(BTreeMap::new());

/// What a download came to; one for each file and URL.
struct Found {
    at: Instant,
    expected: Digest,
    found: Digest,
    bytes: u64,
}

/// Notes what the download from `url` came to, when it was whole and wrong. To be told while the lock of `target` is held.
pub(super) fn note(target: &Path, url: &RemoteUrl, error: &UrlError) {
    let UrlError::WrongChecksum { expected, found, bytes } = error else { return };
    let found = Found { at: Instant::now(), expected: expected.clone(), found: found.clone(), bytes: *bytes };
    let mut all = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    all.insert((target.to_owned(), url.with_login()), found);
}

/// The error of a download that has ended since `asked`. Who asks later, to try once more, downloads again.
pub(super) fn since(asked: Instant, target: &Path, url: &RemoteUrl, checksum: &Checksum) -> Option<UrlError> {
    let Checksum::Digest(wanted) = checksum else { return None };
    let all = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let Found { at, expected, found, bytes } = all.get(&(target.to_owned(), url.with_login()))?;
    let error = || UrlError::WrongChecksum { expected: expected.clone(), found: found.clone(), bytes: *bytes };
    (*at >= asked && expected == wanted).then(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_token_or_login_is_another_download() {
        let digest = |text: &str| Digest::from_hex(None, text).unwrap();
        let (wanted, got) = ("a".repeat(64), "b".repeat(64));
        let wrong = UrlError::WrongChecksum { expected: digest(&wanted), found: digest(&got), bytes: 7 };
        let (target, checksum) = (Path::new("/cache/just-wrong.iso"), Checksum::Digest(digest(&wanted)));
        let asked = Instant::now();
        for (old, new) in [
            ("https://m/x.iso?token=old", "https://m/x.iso?token=new"),
            ("https://user:old@m/y.iso", "https://user:new@m/y.iso"),
        ] {
            let (old, new) = (RemoteUrl::parse(old).unwrap(), RemoteUrl::parse(new).unwrap());
            note(target, &old, &wrong);
            assert!(since(asked, target, &old, &checksum).is_some(), "{old}");
            assert!(since(asked, target, &new, &checksum).is_none(), "{new}");
        }
    }
}
