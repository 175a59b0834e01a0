//! `http_content`: texts by path.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Longest path for which names that are close are looked for.
const MAX_COMPARED: usize = 200;

/// Texts by cleaned path.
pub(super) struct ContentMap(BTreeMap<String, Bytes>);

impl ContentMap {
    pub(super) fn new(content: BTreeMap<String, String>) -> Self {
        Self(content.into_iter().map(|(path, text)| (clean(&path), Bytes::from(text))).collect())
    }

    /// Finds the text for a path as it stands in a request.
    pub(super) fn get(&self, request_path: &str) -> Option<&Bytes> {
        self.0.get(&clean(&decode(request_path)?))
    }

    /// Returns what to answer for a path that has no text.
    pub(super) fn not_found(&self, request_path: &str) -> String {
        let path = decode(request_path).map_or_else(|| request_path.to_owned(), |path| clean(&path));
        match closest(&path, self.0.keys().map(String::as_str)) {
            Some(closest) => format!("{path} not found. Did you mean \"{closest}\"?\n"),
            None => format!("{path} not found.\n"),
        }
    }
}

/// Returns the name that is closest to one that does not exist, if any is close.
pub(super) fn closest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.len() > MAX_COMPARED {
        return None;
    }
    names
        .filter(|name| name.len() <= MAX_COMPARED)
        .map(|name| (distance(&wanted.to_lowercase(), &name.to_lowercase()), name))
        .min()
        .filter(|(distance, name)| *distance <= name.chars().count().max(wanted.chars().count()) / 2)
        .map(|(_, name)| name)
}

/// Undoes `%XX`; nothing for what is not UTF-8 then or contains a NUL.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        let digit = |byte: &u8| (*byte as char).to_digit(16);
        bytes.push((digit(high)? * 16 + digit(low)?) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// Makes a path absolute, without `.`, `..`, double or trailing slashes.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Counts the characters to insert, remove or replace to get from one text to the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (position, right) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[position + 1];
            row[position + 1] = replaced.min(diagonal + 1).min(row[position] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> ContentMap {
        let pairs = [("/preseed.cfg", "d-i"), ("user-data", "#cloud-config"), ("/a//b/", "x")];
        ContentMap::new(pairs.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect())
    }

    #[test]
    fn finds_cleaned_paths() {
        let map = map();
        for path in ["/preseed.cfg", "//preseed.cfg", "/x/../preseed.cfg", "/preseed%2Ecfg", "/../preseed.cfg"] {
            assert_eq!(map.get(path).map(|text| &text[..]), Some(&b"d-i"[..]), "{path}");
        }
        assert!(map.get("/user-data").is_some() && map.get("/a/b").is_some());
        assert!(map.get("/%00").is_none() && map.get("/%ff").is_none() && map.get("/%4").is_none());
    }

    #[test]
    fn suggests_what_is_close() {
        let map = map();
        assert_eq!(map.not_found("/presed.cfg"), "/presed.cfg not found. Did you mean \"/preseed.cfg\"?\n");
        assert_eq!(map.not_found("/User_Data"), "/User_Data not found. Did you mean \"/user-data\"?\n");
        assert_eq!(map.not_found("/something/else/entirely"), "/something/else/entirely not found.\n");
    }

    #[test]
    fn counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
