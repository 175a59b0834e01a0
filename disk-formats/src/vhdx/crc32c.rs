//! CRC-32C (Castagnoli), which guards VHDX's structures (RFC 3720, appendix B.4).

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// Returns the checksum of the bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

/// Says whether a structure whose checksum is at bytes 4 to 7 is whole; the field itself counts as zero.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let Some((front, rest)) = bytes.split_at_checked(8) else { return false };
    let stored = u32::from_le_bytes([front[4], front[5], front[6], front[7]]);
    let mut copy = Vec::with_capacity(bytes.len());
    copy.extend_from_slice(&front[..4]);
    copy.extend_from_slice(&[0; 4]);
    copy.extend_from_slice(rest);
    crc32c(&copy) == stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_right() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
