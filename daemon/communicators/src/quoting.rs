//! Writes paths into command lines of an unknown shell in the guest.
//!
//! Packer hands paths to the guest's shell as they are, so templates rely on `~/x` and `$HOME/x` being expanded; it breaks
//! on blanks and quotes. Here leading tildes and `$NAME` stay expandable, everything else is literal. Paths of plain
//! characters stay as they are, which also suits `cmd.exe` behind OpenSSH for Windows.

/// Whether `*`, `?` and `[…]` are patterns or characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patterns {
    Literal,
    Expanded,
}

/// Quotes the path of one file for a command line in the guest, so that it means there what it means to an upload: `~` in front
/// and `$NAME` are expanded, all else is literal.
#[must_use]
pub fn quote_guest_path(path: &str) -> String {
    quote_path(path, Patterns::Literal)
}

/// Quotes a path for the guest's shell. A leading `-` is protected from being taken for an option.
pub(crate) fn quote_path(path: &str, patterns: Patterns) -> String {
    if is_windows_path(path) {
        return if path.contains(' ') { format!("\"{path}\"") } else { path.to_owned() };
    }
    let mut quoted = String::with_capacity(path.len() + 8);
    let mut rest = path;
    if rest.starts_with('-') {
        quoted.push_str("./");
    }
    if rest.starts_with('~') {
        let end = rest.find('/').unwrap_or(rest.len());
        let (home, after) = rest.split_at(end);
        if home[1..].chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            quoted.push_str(home);
            rest = after;
        }
    }
    while let Some(character) = rest.chars().next() {
        if let Some(length) = variable_length(rest) {
            quoted.push('"');
            quoted.push_str(&rest[..length]);
            quoted.push('"');
            rest = &rest[length..];
            continue;
        }
        let expanded = patterns == Patterns::Expanded && "*?[]".contains(character);
        if expanded || character.is_ascii_alphanumeric() || "/._-+,:=@%^".contains(character) || !character.is_ascii() {
            quoted.push(character);
        } else if character == '\n' {
            quoted.push_str("'\n'");
        } else {
            quoted.push('\\');
            quoted.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    if quoted.is_empty() { "''".to_owned() } else { quoted }
}

/// Length of a `$NAME` or `${NAME}` at the start of `text`.
fn variable_length(text: &str) -> Option<usize> {
    let name = text.strip_prefix('$')?;
    let (name, extra) = name.strip_prefix('{').map_or((name, 0), |name| (name, 2));
    let length = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let closed = extra == 0 || name[length..].starts_with('}');
    (starts_well && closed).then_some(1 + length + extra)
}

/// `C:\…` or `C:/…`.
pub(crate) fn is_windows_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'\\' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_stay_and_the_rest_is_literal() {
        for (path, expected) in [
            ("/tmp/script_1.sh", "/tmp/script_1.sh"),
            ("~/a b", "~/a\\ b"),
            ("~user/x", "~user/x"),
            ("~$(id)/x", "\\~\\$\\(id\\)/x"),
            ("$HOME/x", "\"$HOME\"/x"),
            ("${HOME}x", "\"${HOME}\"x"),
            ("a$1", "a\\$1"),
            ("-rf", "./-rf"),
            ("it's; rm *", "it\\'s\\;\\ rm\\ \\*"),
            ("ünï", "ünï"),
            ("C:\\Windows\\Temp", "C:\\Windows\\Temp"),
            ("C:/Program Files/x", "\"C:/Program Files/x\""),
            ("", "''"),
        ] {
            assert_eq!(quote_path(path, Patterns::Literal), expected, "{path}");
        }
        assert_eq!(quote_path("/var/*.l[o]g", Patterns::Expanded), "/var/*.l[o]g");
    }

    #[test]
    fn a_real_shell_reads_back_what_was_quoted() {
        let odd = "a 'b' \"c\" `d` $(e) $1 \\ ! # & | ; < > ( ) { } * ? [x] ~ \t=\nünï";
        let script = format!("printf %s {}", quote_path(odd, Patterns::Literal));
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), odd);
    }
}
