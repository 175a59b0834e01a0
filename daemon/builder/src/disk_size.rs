//! Packer's sizes of disks.

/// `^\d+[bkmgt]?$`, a bare number counts MiB (packer.md 4.1).
pub(crate) fn parse_disk_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "m" => 20,
        "b" => 0,
        "k" => 10,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::parse_disk_size;

    #[test]
    fn disk_sizes_as_packer_reads_them() {
        let cases = [
            ("40960M", Some(40960 << 20)),
            ("8192", Some(8192 << 20)),
            ("10g", Some(10 << 30)),
            ("1T", Some(1 << 40)),
            ("512b", Some(512)),
            ("64K", Some(64 << 10)),
            ("", None),
            ("G", None),
            ("10GB", None),
            ("1.5G", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("18446744073709551615T", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_disk_size(text), expected, "{text}");
        }
    }
}
