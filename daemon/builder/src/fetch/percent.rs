//! Percent-encoding in URLs that people write, who encode half of what they should.

/// Encodes what may not stand in a URL, leaving what is encoded already.
pub(super) fn encoded(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            result.push(byte as char);
        } else {
            result.push_str(&format!("%{byte:02X}"));
        }
    }
    result
}

/// Encodes all but letters and digits, for a text that is a part of a URL by itself.
pub(super) fn encoded_part(text: &str) -> String {
    let one = |byte: u8| if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Undoes `%XX`; what is not that stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let bytes = text.as_bytes();
    let mut result = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        if bytes[position] == b'%'
            && let (Some(high), Some(low)) = (digit(bytes.get(position + 1)), digit(bytes.get(position + 2)))
        {
            result.push((high * 16 + low) as u8);
            position += 3;
        } else {
            result.push(bytes[position]);
            position += 1;
        }
    }
    String::from_utf8_lossy(&result).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_encoded_text_is_understood() {
        for (text, plain) in
            [("a%20b", "a b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%A4", "ä"), ("%ff", "\u{fffd}")]
        {
            assert_eq!(decoded(text), plain, "{text}");
        }
        assert_eq!(encoded("ä b%20c\"\n"), "%C3%A4%20b%20c%22%0A");
        assert_eq!(decoded(&encoded("it's <ä>\\")), "it's <ä>\\");
    }
}
