//! What a differencing VHDX says about its parent (MS-VHDX section 2.6.2.6): a list of keys and values in UTF-16.

use super::layout::guid_from_text;

/// Says that the list describes another VHDX.
const VHDX_PARENT: &str = "b04aefb7-d19e-4a81-b789-25b8e9445913";
/// Bytes before the entries: the kind, two reserved ones, and the number of entries.
const HEADER: usize = 20;
/// Bytes of an entry: offsets and lengths of key and value.
const ENTRY: usize = 12;
/// Largest list in bytes; a true one has some hundreds.
pub(super) const MAX_LOCATOR: u64 = 64 << 10;

/// The parent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ParentLocator {
    /// Identifiers of the parent's content, of which it must have one.
    pub(crate) linkages: Vec<[u8; 16]>,
    /// Its path, with slashes: the relative one if there is any.
    pub(crate) path: String,
}

impl ParentLocator {
    /// Reads the list; the error is the rule that it breaks.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let (header, mut entries) = bytes.split_at_checked(HEADER).ok_or("the parent locator is cut short")?;
        if guid_from_text(VHDX_PARENT).is_none_or(|kind| header[..16] != kind) {
            return Err("the parent is of a kind that is not known");
        }
        let count = usize::from(u16::from_le_bytes([header[18], header[19]]));
        let (mut linkages, mut relative, mut absolute) = (Vec::new(), None, None);
        for _ in 0..count {
            let (entry, rest) = entries.split_at_checked(ENTRY).ok_or("the parent locator is cut short")?;
            entries = rest;
            let offset = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            let length = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let text = |offset: u32, length: u16| {
                let start = offset as usize;
                let units = start.checked_add(usize::from(length)).and_then(|end| bytes.get(start..end));
                let units = units.ok_or("a text of the parent locator lies outside of it")?;
                let units = units.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
                Ok::<String, &'static str>(
                    char::decode_utf16(units)
                        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
                        .collect(),
                )
            };
            let (key, value) = (text(offset(0), length(8))?, text(offset(4), length(10))?);
            match key.as_str() {
                "parent_linkage" | "parent_linkage2" => {
                    let id = value.trim_start_matches('{').trim_end_matches('}');
                    linkages.push(guid_from_text(id).ok_or("the parent's identifier is no uuid")?);
                }
                "relative_path" => relative = Some(value),
                "absolute_win32_path" => absolute = Some(value),
                _ => {}
            }
        }
        let path = relative.or(absolute).ok_or("the parent locator has no path")?.replace('\\', "/");
        if linkages.is_empty() {
            return Err("the parent locator does not identify the parent");
        }
        Ok(Self { linkages, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a list as Hyper-V does.
    fn locator(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = guid_from_text(VHDX_PARENT).unwrap().to_vec();
        bytes.extend([0, 0]);
        bytes.extend((entries.len() as u16).to_le_bytes());
        let mut texts = Vec::new();
        for (key, value) in entries {
            let mut places = Vec::new();
            for text in [key, value] {
                let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                places.push(((HEADER + entries.len() * ENTRY + texts.len()) as u32, units.len() as u16));
                texts.extend(units);
            }
            places.iter().for_each(|(offset, _)| bytes.extend(offset.to_le_bytes()));
            places.iter().for_each(|(_, length)| bytes.extend(length.to_le_bytes()));
        }
        [bytes, texts].concat()
    }

    #[test]
    fn the_relative_path_comes_first() {
        let id = "{83ed0ec3-24c8-49a6-a959-5e4bd1288015}";
        let list =
            locator(&[("parent_linkage", id), ("absolute_win32_path", r"c:\x.vhdx"), ("relative_path", r".\b\x.vhdx")]);
        let found = ParentLocator::parse(&list).unwrap();
        assert_eq!(found.path, "./b/x.vhdx");
        assert_eq!(found.linkages[0][..4], [0xc3, 0x0e, 0xed, 0x83]);
    }

    #[test]
    fn what_is_cut_or_senseless_is_refused() {
        let id = "{83ed0ec3-24c8-49a6-a959-5e4bd1288015}";
        let whole = locator(&[("parent_linkage", id), ("relative_path", "x.vhdx")]);
        for len in 0..whole.len() {
            assert!(ParentLocator::parse(&whole[..len]).is_err(), "{len}");
        }
        for entries in [
            &[("parent_linkage", id)][..],
            &[("relative_path", "x")],
            &[("parent_linkage", "{no}"), ("relative_path", "x")],
            &[],
        ] {
            assert!(ParentLocator::parse(&locator(entries)).is_err(), "{entries:?}");
        }
    }
}
