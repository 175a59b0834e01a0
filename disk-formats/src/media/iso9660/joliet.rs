//! Names of the Joliet hierarchy: UTF-16 with the most significant byte first, which Windows reads.

use super::unique_names::UniqueNames;

/// Longest name in UTF-16 units. The specification says 64; every reader takes what fits into a directory record, and 103
/// is the limit that other writers use when asked for long names.
const MAX_NAME_UNITS: usize = 103;
/// Longest extension that survives the cutting of a name.
const MAX_EXTENSION_UNITS: usize = 20;
/// Characters that Joliet does not allow, besides control characters.
const FORBIDDEN: &str = "*/:;?\\";
/// Every file is the first version of itself.
const VERSION: &str = ";1";

/// Gives the children of one directory their identifiers, in the same order; all are different.
pub(super) fn identifiers<'a>(children: impl Iterator<Item = (&'a str, bool)>) -> Vec<Vec<u8>> {
    let mut names = UniqueNames::<u16>::new();
    children
        .map(|(name, is_directory)| {
            let units = allowed_units(name);
            let dot = units.iter().rposition(|unit| *unit == u16::from(b'.'));
            let split = dot
                .filter(|position| !is_directory && *position > 0 && units.len() - position <= MAX_EXTENSION_UNITS + 1);
            let (base, tail) = units.split_at(split.unwrap_or(units.len()));
            let mut identifier = names.claim(whole_characters(base, MAX_NAME_UNITS - tail.len()), tail, MAX_NAME_UNITS);
            if !is_directory {
                identifier.extend(VERSION.encode_utf16());
            }
            identifier.iter().flat_map(|unit| unit.to_be_bytes()).collect()
        })
        .collect()
}

fn allowed_units(name: &str) -> Vec<u16> {
    let allowed = |character: char| if character < ' ' || FORBIDDEN.contains(character) { '_' } else { character };
    name.chars().map(allowed).collect::<String>().encode_utf16().collect()
}

/// Cuts text so that no half of a character beyond the basic plane is left, with or without a number behind it.
fn whole_characters(units: &[u16], limit: usize) -> &[u16] {
    let is_leading_half = |unit: u16| (0xD800..0xDC00).contains(&unit);
    let cut = &units[..units.len().min(limit)];
    match cut.last() {
        Some(last) if is_leading_half(*last) => &cut[..cut.len() - 1],
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[(&str, bool)]) -> Vec<String> {
        let decode = |bytes: Vec<u8>| {
            let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).unwrap()
        };
        identifiers(names.iter().copied()).into_iter().map(decode).collect()
    }

    #[test]
    fn keeps_what_joliet_can_say() {
        assert_eq!(
            named(&[("user-data", false), ("Größe 1.txt", false), ("a:b?", true), ("😀", true)]),
            ["user-data;1", "Größe 1.txt;1", "a_b_", "😀"]
        );
    }

    #[test]
    fn cuts_long_names_between_characters() {
        let long = format!("{}😀.txt", "x".repeat(98));
        let names = named(&[(&long, false), (&long.replace('😀', "yy"), false), (&"😀".repeat(60), true)]);
        assert_eq!(names[0], format!("{}.txt;1", "x".repeat(98)));
        assert_eq!(names[1], format!("{}y.txt;1", "x".repeat(98)));
        assert_eq!(names[2], "😀".repeat(51));
    }
}
