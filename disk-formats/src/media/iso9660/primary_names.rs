//! Names of the primary hierarchy: ISO 9660 level 2, for readers that know neither Rock Ridge nor Joliet.

use super::unique_names::UniqueNames;

/// Longest name without the version: 31 characters including the dot (ECMA-119 §7.5.1, §7.6.3).
const MAX_NAME_BYTES: usize = 31;
/// Longest extension that is kept; the standard has no limit of its own, but the base must keep room.
const MAX_EXTENSION_BYTES: usize = 10;
/// Every file is the first version of itself.
const VERSION: &[u8] = b";1";

/// Gives the children of one directory their identifiers, in the same order; all are different.
pub(super) fn identifiers<'a>(children: impl Iterator<Item = (&'a str, bool)>) -> Vec<Vec<u8>> {
    let mut names = UniqueNames::<u8>::new();
    children
        .map(|(name, is_directory)| {
            if is_directory {
                return names.claim(&d_characters(name), b"", MAX_NAME_BYTES);
            }
            // A leading dot starts a name, not an extension.
            let split = name.rfind('.').filter(|position| *position > 0);
            let (base, extension) = split.map_or((name, ""), |position| (&name[..position], &name[position + 1..]));
            let mut tail = vec![b'.'];
            tail.extend(d_characters(extension).iter().take(MAX_EXTENSION_BYTES));
            let mut identifier = names.claim(&d_characters(base), &tail, MAX_NAME_BYTES);
            identifier.extend_from_slice(VERSION);
            identifier
        })
        .collect()
}

/// Maps text to the characters that are allowed: `A` to `Z`, `0` to `9` and `_` (§7.4.1).
fn d_characters(text: &str) -> Vec<u8> {
    text.chars()
        .map(|character| match u8::try_from(character) {
            Ok(byte) if byte.is_ascii_alphanumeric() => byte.to_ascii_uppercase(),
            _ => b'_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[(&str, bool)]) -> Vec<String> {
        identifiers(names.iter().copied()).into_iter().map(|name| String::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn maps_names() {
        assert_eq!(
            named(&[("user-data", false), ("ks.cfg", false), ("KS.CFG", false), (".profile", false), ("a.b.c", true)]),
            ["USER_DATA.;1", "KS.CFG;1", "KS_1.CFG;1", "_PROFILE.;1", "A_B_C"]
        );
    }

    #[test]
    fn cuts_long_names() {
        let long = "a".repeat(200);
        let with_extension = format!("{long}.configuration");
        let names = named(&[(&long, true), (&long, true), (&with_extension, false)]);
        assert_eq!(names[0], "A".repeat(31));
        assert_eq!(names[1], format!("{}_1", "A".repeat(29)));
        assert_eq!(names[2], format!("{}.CONFIGURAT;1", "A".repeat(20)));
    }
}
