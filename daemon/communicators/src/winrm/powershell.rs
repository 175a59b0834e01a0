//! PowerShell scripts as command lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What `cmd` takes as one line.
pub(crate) const MAX_LINE: usize = 8191;

/// The command line that runs `script`. Comments and indentation stay here, for the line has a limit.
pub(crate) fn command(script: &str) -> String {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let script = lines.collect::<Vec<_>>().join("\n");
    let bytes: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    format!("powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -EncodedCommand {}", STANDARD.encode(bytes))
}

/// Puts texts in the places of a script: `<<NAME>>` for each name. What was put in is not looked at again.
pub(crate) fn filled(script: &str, texts: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), script);
    while let Some((before, after)) = rest.split_once("<<") {
        filled.push_str(before);
        let place = after.split_once(">>").and_then(|(name, after)| {
            let (_, text) = texts.iter().find(|(known, _)| *known == name)?;
            Some((*text, after))
        });
        let (text, after) = place.unwrap_or(("<<", after));
        filled.push_str(text);
        rest = after;
    }
    filled + rest
}

/// A literal text.
pub(crate) fn quoted(text: &str) -> String {
    // PowerShell takes the typographic ones for the plain one.
    let is_quote = |letter: char| matches!(letter, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}');
    let mut quoted = String::from("'");
    for letter in text.chars() {
        if is_quote(letter) {
            quoted.push(letter);
        }
        quoted.push(letter);
    }
    quoted.push('\'');
    quoted
}

/// The expression of a guest's path: `$env:NAME` and `%NAME%` are expanded, as templates for Packer rely on; all else is literal.
pub(crate) fn path(text: &str) -> String {
    let mut parts = Vec::new();
    let (mut literal, mut rest) = (String::new(), text);
    while let Some(letter) = rest.chars().next() {
        if let Some((name, after)) = variable(rest) {
            if !literal.is_empty() {
                parts.push(quoted(&std::mem::take(&mut literal)));
            }
            parts.push(format!("[string]${{env:{name}}}"));
            rest = after;
        } else {
            literal.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    if !literal.is_empty() || parts.is_empty() {
        parts.push(quoted(&literal));
    }
    format!("({})", parts.join(" + "))
}

/// The name of a variable at the start, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if let Some(rest) = text.get(..5).filter(|start| start.eq_ignore_ascii_case("$env:")).map(|_| &text[5..]) {
        let end = rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len());
        return (end > 0).then(|| rest.split_at(end));
    }
    let rest = text.strip_prefix('%')?;
    let (name, after) = rest.split_once('%')?;
    let is_name = |letter: char| is_letter(letter) || "()".contains(letter);
    (!name.is_empty() && name.chars().all(is_name)).then_some((name, after))
}

/// What PowerShell wrote to standard error, without what it writes there for other PowerShells.
pub(crate) fn errors(text: &str) -> String {
    let mut words = String::new();
    let mut is_for_others = false;
    for line in text.lines() {
        if line.starts_with("#< CLIXML") {
            is_for_others = true;
            continue;
        }
        if is_for_others && line.starts_with("<Objs") {
            continue;
        }
        is_for_others = false;
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(line.trim());
    }
    words.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_one_word_without_its_comments() {
        let line = command("# why\n  a 'ü'\n\n  b\n");
        let (_, encoded) = line.rsplit_once(' ').unwrap();
        let bytes = STANDARD.decode(encoded).unwrap();
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(String::from_utf16(&units).unwrap(), "a 'ü'\nb");
    }

    #[test]
    fn what_is_put_into_a_script_is_not_looked_at_again() {
        let texts = [("A", "<<B>>"), ("B", "<<A>>")];
        assert_eq!(filled("1 <<A>> 2 <<B>> 3 <<C>> << <<A>>", &texts), "1 <<B>> 2 <<A>> 3 <<C>> << <<B>>");
    }

    #[test]
    fn paths_are_literal_but_for_variables() {
        for (text, expression) in [
            ("c:/Windows/Temp/a b.ps1", "('c:/Windows/Temp/a b.ps1')"),
            ("it's $(x) `y", "('it''s $(x) `y')"),
            ("\u{2019}", "('\u{2019}\u{2019}')"),
            ("$env:TEMP\\x", "([string]${env:TEMP} + '\\x')"),
            ("%ProgramFiles(x86)%/x", "([string]${env:ProgramFiles(x86)} + '/x')"),
            ("100%/a%b", "('100%/a%b')"),
            ("%a b%", "('%a b%')"),
            ("$env:", "('$env:')"),
            ("", "('')"),
        ] {
            assert_eq!(path(text), expression, "{text}");
        }
    }

    #[test]
    fn what_is_for_other_powershells_is_left_out() {
        let said = "#< CLIXML\r\n<Objs Version=\"1.1\"></Objs>\r\nit is a directory\r\n";
        assert_eq!(errors(said), "it is a directory");
        assert_eq!(errors("a\u{1b}[31m\nb"), "a\u{fffd}[31m b");
    }
}
