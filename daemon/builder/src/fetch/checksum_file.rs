//! Lists of checksums as `sha256sum` (GNU) and `sha256 -r`, `openssl dgst`, Fedora (BSD) write them.

use std::path::{Component, Path, PathBuf};

use super::checksum::{Algorithm, Checksum, ChecksumSpec, Digest};
use super::error::{FetchError, UrlError};
use super::location::{self, Location};
use super::percent::decoded;
use super::told::SayFn;
use super::transport::Transport;
use super::url_secrets;

/// Longest list that is read: those of whole distributions have a few hundred kilobytes.
const MAX_BYTES: usize = 8 << 20;

/// Turns a specification into a checksum.
pub(super) async fn resolve(
    transport: &Transport,
    spec: &ChecksumSpec,
    first_url: &str,
    cwd: &Path,
    say: SayFn<'_>,
) -> Result<Checksum, FetchError> {
    let file = match spec {
        ChecksumSpec::None => return Ok(Checksum::None),
        ChecksumSpec::Digest(digest) => return Ok(Checksum::Digest(digest.clone())),
        ChecksumSpec::File(file) => file,
    };
    let shown = url_secrets::shown(file);
    let failed = |source| FetchError::ChecksumFile { file: shown.clone(), source };
    let (list_location, _) = location::parse(file).map_err(failed)?;
    let (content, list_directory) = match list_location {
        Location::Local(path) => {
            let path = cwd.join(path);
            let content = read_local(&path).await.map_err(failed)?;
            (content, path.parent().map(Path::to_owned).unwrap_or_default())
        }
        Location::Remote(url) => {
            let content = transport.small_file(&url, MAX_BYTES, say).await.map_err(failed)?;
            let path = PathBuf::from(decoded(url.uri().path()));
            (content, path.parent().map(Path::to_owned).unwrap_or_default())
        }
    };
    let wanted = names(first_url, &list_directory, cwd).map_err(failed)?;
    match find(&String::from_utf8_lossy(&content), &wanted) {
        Some(digest) => Ok(Checksum::Digest(digest)),
        None => Err(FetchError::NoChecksumInFile { file: shown, name: wanted.into_iter().next().unwrap_or_default() }),
    }
}

async fn read_local(path: &Path) -> Result<Vec<u8>, UrlError> {
    let failed = |source| UrlError::Read { path: path.to_owned(), source };
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(UrlError::NotAFile { path: path.to_owned() });
    }
    if metadata.len() > MAX_BYTES as u64 {
        return Err(failed(std::io::Error::other(format!("longer than {MAX_BYTES} bytes"))));
    }
    tokio::fs::read(path).await.map_err(failed)
}

/// Returns the names under which a list may know a file: its own name first, then as seen from the list, then absolute.
fn names(first_url: &str, list_directory: &Path, cwd: &Path) -> Result<Vec<String>, UrlError> {
    // Whether the image itself can be downloaded is found out later; here only its name counts.
    let path = match location::parse(first_url) {
        Ok((Location::Local(path), _)) => cwd.join(path),
        Ok((Location::Remote(url), _)) => PathBuf::from(decoded(url.uri().path())),
        Err(UrlError::Compressed { url, .. }) => cwd.join(url),
        Err(error) => return Err(error),
    };
    let absolute = path.to_string_lossy().into_owned();
    let base = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let relative = relative(&path, list_directory).to_string_lossy().into_owned();
    let mut names = vec![base];
    for name in [relative.clone(), format!("./{relative}"), absolute] {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Returns `path` as seen from `directory`.
fn relative(path: &Path, directory: &Path) -> PathBuf {
    let tidy = |path: &Path| -> Vec<String> {
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::ParentDir => {
                    parts.pop();
                }
                Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
                _ => {}
            }
        }
        parts
    };
    let (path, directory) = (tidy(path), tidy(directory));
    let common = path.iter().zip(&directory).take_while(|(left, right)| left == right).count();
    let up = std::iter::repeat_n("..", directory.len() - common);
    up.chain(path[common..].iter().map(String::as_str)).collect()
}

/// Finds the checksum of a file in a list.
fn find(list: &str, names: &[String]) -> Option<Digest> {
    list.lines().find_map(|line| {
        let line = line.trim();
        let (name, digest) = bsd_line(line).or_else(|| gnu_line(line))?;
        match name {
            // A list without names is about one file, and that must be ours.
            None => Some(digest),
            Some(name) => {
                let bare = name.strip_prefix(['*', '?']).unwrap_or(name);
                names.iter().any(|wanted| wanted == name || wanted == bare).then_some(digest)
            }
        }
    })
}

/// Reads `SHA256 (name) = hash` and `SHA2-256(name)= hash`.
fn bsd_line(line: &str) -> Option<(Option<&str>, Digest)> {
    let (kind, rest) = line.split_once('(')?;
    let (name, hash) = rest.rsplit_once(')')?;
    let hash = hash.trim_start().strip_prefix('=')?;
    let algorithm = Algorithm::from_name(kind.trim())?;
    Some((Some(name), Digest::from_hex(Some(algorithm), hash).ok()?))
}

/// Reads `hash  name`, `hash *name` and `hash`; the length of the hash tells its type.
fn gnu_line(line: &str) -> Option<(Option<&str>, Digest)> {
    let (hash, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let digest = Digest::from_hex(None, hash).ok()?;
    let name = name.trim();
    // `-` stands for what came through a pipe.
    Some((Some(name).filter(|name| !matches!(*name, "" | "-" | "*-")), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn found(list: &str, url: &str, directory: &str) -> Option<String> {
        let names = names(url, Path::new(directory), Path::new("/work")).unwrap();
        find(list, &names).map(|digest| digest.to_string())
    }

    #[test]
    fn reads_lists_of_all_makers() {
        let a = Some(format!("sha256:{A}"));
        for line in [
            format!("{A}  debian.iso"),
            format!("{A} *debian.iso"),
            format!("{A} ?debian.iso"),
            format!("SHA256 (debian.iso) = {A}"),
            format!("SHA2-256(debian.iso)= {A}"),
            format!("{A}  ./amd64/debian.iso"),
            format!("{A}  amd64/debian.iso"),
            format!("{A}  /cd/amd64/debian.iso"),
            format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# x\n{B}  other.iso\n{A}  debian.iso"),
            A.to_owned(),
            format!("{A}  -"),
        ] {
            assert_eq!(found(&line, "http://h/cd/amd64/debian.iso", "/cd"), a, "{line}");
        }
    }

    #[test]
    fn does_not_take_other_files() {
        let list = format!("{A}  xdebian.iso\n{B}  debian.iso.sig\nSHA256 (debian.is) = {A}\nnonsense\n");
        assert_eq!(found(&list, "http://h/debian.iso", "/"), None);
    }

    #[test]
    fn knows_names_with_spaces_and_escapes() {
        let list = format!("{B}  windows 11.iso\n{A}  windows 11 x64.iso\n");
        assert_eq!(found(&list, "http://h/windows%2011%20x64.iso", "/"), Some(format!("sha256:{A}")));
        let list = format!("SHA256 (a (1).iso) = {A}");
        assert_eq!(found(&list, "a (1).iso", "/work"), Some(format!("sha256:{A}")));
    }

    #[test]
    fn sees_paths_from_the_list() {
        assert_eq!(relative(Path::new("/a/b/c.iso"), Path::new("/a")), PathBuf::from("b/c.iso"));
        assert_eq!(relative(Path::new("/a/c.iso"), Path::new("/a/lists/x")), PathBuf::from("../../c.iso"));
        assert_eq!(relative(Path::new("/c.iso"), Path::new("/")), PathBuf::from("c.iso"));
    }
}
