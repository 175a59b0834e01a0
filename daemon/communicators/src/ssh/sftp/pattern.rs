//! Shell patterns for sftp, which has none of its own.

/// Returns true when the path holds a character a shell would expand.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Returns true when a shell's pattern (`*`, `?`, `[a-z]`, `[!x]`) matches the whole name. Hidden names need a literal dot.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where to go on when what follows the last `*` does not match: it takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    let (mut at, mut index) = (0, 0);
    while index < name.len() {
        let step = match pattern.get(at) {
            Some('*') => {
                retry = Some((at + 1, index));
                at += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => class(&pattern[at..], name[index]),
            Some(character) => (*character == name[index]).then_some(1),
            None => None,
        };
        match (step, retry) {
            (Some(length), _) => {
                at += length;
                index += 1;
            }
            (None, Some((after, from))) => {
                retry = Some((after, from + 1));
                at = after;
                index = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

/// Matches a character against `[…]` at the start of the pattern; returns the length of the class if it matches.
fn class(pattern: &[char], character: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let start = if negated { 2 } else { 1 };
    // A `]` right at the start is a member.
    let end = pattern.iter().skip(start + 1).position(|c| *c == ']').map(|found| found + start + 1);
    let Some(end) = end else {
        return (character == '[').then_some(1);
    };
    let members = &pattern[start..end];
    let mut found = false;
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            found |= (members[at]..=members[at + 2]).contains(&character);
            at += 3;
        } else {
            found |= members[at] == character;
            at += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.log", "x.log"),
            ("a*b*c", "aXbYbZc"),
            ("?", "ü"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]x]", "]"),
            ("[", "["),
            (".*", ".hidden"),
            ("", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*", ".hidden"), ("*.log", "x.logs"), ("?", ""), ("[a-c]", "d"), ("a*b", "ac"), ("", "a")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
