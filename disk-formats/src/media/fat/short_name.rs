//! The 8.3 names that stand beside long names, for systems and boot loaders that know only those.

use std::collections::{BTreeMap, BTreeSet};

/// Characters besides letters and digits that a short name may contain (FAT specification, "Short Directory Entry Names").
const ALLOWED_SIGNS: &[u8] = b"$%'-_@~`!(){}^#&";
const BASE_BYTES: usize = 8;
const EXTENSION_BYTES: usize = 3;
/// Highest number that is appended: `~999999` leaves one character of the name.
const MAX_TAIL: u32 = 999_999;

/// A name as it is stored: eight and three characters, padded with spaces, without the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShortName([u8; BASE_BYTES + EXTENSION_BYTES]);

/// What a long name offers for a short one.
struct Basis {
    /// At least one character, at most eight.
    base: Vec<u8>,
    /// At most three characters.
    extension: Vec<u8>,
    /// Whether something was lost, so that a number must tell the name from others.
    lossy: bool,
}

impl ShortName {
    /// Returns the name of the directory itself.
    pub(super) const DOT: [u8; 11] = *b".          ";
    /// Returns the name of the directory above.
    pub(super) const DOT_DOT: [u8; 11] = *b"..         ";

    pub(super) const fn bytes(&self) -> &[u8; BASE_BYTES + EXTENSION_BYTES] {
        &self.0
    }

    /// Says whether the name, read back, is exactly `name`: then it needs no long name.
    pub(super) fn is(&self, name: &str) -> bool {
        let trimmed = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(' ').to_owned();
        let base = trimmed(&self.0[..BASE_BYTES]);
        let extension = trimmed(&self.0[BASE_BYTES..]);
        if extension.is_empty() { name == base } else { name == format!("{base}.{extension}") }
    }

    /// Returns the checksum that ties the parts of a long name to this short name.
    pub(super) fn checksum(&self) -> u8 {
        self.0.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
    }

    fn assemble(base: &[u8], tail: &str, extension: &[u8]) -> Self {
        let mut bytes = [b' '; BASE_BYTES + EXTENSION_BYTES];
        let kept = base.len().min(BASE_BYTES - tail.len());
        bytes[..kept].copy_from_slice(&base[..kept]);
        bytes[kept..kept + tail.len()].copy_from_slice(tail.as_bytes());
        bytes[BASE_BYTES..BASE_BYTES + extension.len()].copy_from_slice(extension);
        Self(bytes)
    }
}

/// Gives every name of a directory a short name, in the same order; all are different.
///
/// Names that are short already come first, so that no made-up `NAME~1` takes the place of a file that is really called so.
/// Returns nothing when the numbers do not suffice, which takes more names than a floppy can hold.
pub(super) fn short_names<'a>(names: impl Iterator<Item = &'a str>) -> Option<Vec<ShortName>> {
    let bases: Vec<Basis> = names.map(Basis::new).collect();
    let mut used = BTreeSet::new();
    let mut chosen: Vec<Option<ShortName>> = bases
        .iter()
        .map(|basis| {
            let name = ShortName::assemble(&basis.base, "", &basis.extension);
            (!basis.lossy && used.insert(name)).then_some(name)
        })
        .collect();
    // Where to go on counting, per beginning that a one-digit number leaves: many similar names stay cheap.
    let mut next_numbers: BTreeMap<ShortName, u32> = BTreeMap::new();
    for (basis, chosen) in bases.iter().zip(&mut chosen) {
        if chosen.is_none() {
            let next = next_numbers.entry(ShortName::assemble(&basis.base, "~0", &basis.extension)).or_insert(1);
            while chosen.is_none() && *next <= MAX_TAIL {
                let name = ShortName::assemble(&basis.base, &format!("~{next}"), &basis.extension);
                *chosen = used.insert(name).then_some(name);
                *next += 1;
            }
        }
    }
    chosen.into_iter().collect()
}

impl Basis {
    fn new(name: &str) -> Self {
        let visible = name.trim_start_matches(['.', ' ']);
        let mut lossy = visible.len() != name.len();
        let (base, extension) = visible.rsplit_once('.').unwrap_or((visible, ""));
        let mut base = part(base, BASE_BYTES, &mut lossy);
        let extension = part(extension, EXTENSION_BYTES, &mut lossy);
        if base.is_empty() {
            base.push(b'_');
            lossy = true;
        }
        Self { base, extension, lossy }
    }
}

fn part(text: &str, limit: usize, lossy: &mut bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(limit);
    for character in text.chars() {
        let byte = match u8::try_from(character) {
            Ok(byte) if byte.is_ascii_alphanumeric() || ALLOWED_SIGNS.contains(&byte) => byte.to_ascii_uppercase(),
            Ok(b' ' | b'.') => {
                *lossy = true;
                continue;
            }
            // Also letters beyond ASCII: which byte they have depends on the code page of the guest.
            _ => {
                *lossy = true;
                b'_'
            }
        };
        if bytes.len() == limit {
            *lossy = true;
            break;
        }
        bytes.push(byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorten(names: &[&str]) -> Vec<String> {
        let short = short_names(names.iter().copied()).unwrap();
        short.iter().map(|name| String::from_utf8(name.bytes().to_vec()).unwrap()).collect()
    }

    #[test]
    fn keeps_what_is_short() {
        assert_eq!(
            shorten(&["KS.CFG", "ks2.cfg", "README", "a-b_c.{x}"]),
            ["KS      CFG", "KS2     CFG", "README     ", "A-B_C   {X}"]
        );
        let names = short_names(["KS.CFG", "ks.cfg2"].into_iter()).unwrap();
        assert!(names[0].is("KS.CFG") && !names[0].is("ks.cfg"));
    }

    #[test]
    fn numbers_what_is_not() {
        assert_eq!(
            shorten(&["autounattend.xml", "autounattend2.xml", ".profile", "a b.c.d", "é+.txt", "x.html"]),
            ["AUTOUN~1XML", "AUTOUN~2XML", "PROFIL~1   ", "ABC~1   D  ", "__~1    TXT", "X~1     HTM"]
        );
    }

    #[test]
    fn real_short_names_win_over_made_up_ones() {
        assert_eq!(shorten(&["longname1.txt", "longna~1.txt"]), ["LONGNA~2TXT", "LONGNA~1TXT"]);
    }

    #[test]
    fn longer_numbers_take_room_from_the_name() {
        let names: Vec<String> = (0..120).map(|number| format!("long name {number}.txt")).collect();
        let short = shorten(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(short[8], "LONGNA~9TXT");
        assert_eq!(short[9], "LONGN~10TXT");
        assert_eq!(short[119], "LONG~120TXT");
    }

    #[test]
    fn checksum_of_a_known_name() {
        // Worked out by hand for the bytes "A          ": rotate right, add, eleven times.
        let mut sum = 0_u8;
        for byte in b"A          " {
            sum = (if sum & 1 == 1 { 0x80_u8 } else { 0 }).wrapping_add(sum >> 1).wrapping_add(*byte);
        }
        assert_eq!(short_names(["A"].into_iter()).unwrap()[0].checksum(), sum);
    }
}
