//! Go's printf, as far as `env_var_format` has it: every argument is a text.

use std::iter::Peekable;
use std::str::Chars;

/// Writes `arguments` as `format` says. What is wrong with a format is written into its text, as Go does.
pub(crate) fn printf(format: &str, arguments: &[&str]) -> String {
    let mut text = String::new();
    let mut rest = format.chars().peekable();
    let (mut next, mut is_reordered) = (0_usize, false);
    while let Some(letter) = rest.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = rest.next_if(|letter| "-+# 0".contains(*letter)) {
            verb.is_left |= flag == '-';
            verb.is_zero |= flag == '0';
        }
        verb.width = number(&mut rest);
        if rest.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(&mut rest).unwrap_or(0));
        }
        if rest.next_if_eq(&'[').is_some() {
            let index: String = std::iter::from_fn(|| rest.next_if(|letter| *letter != ']')).collect();
            let is_closed = rest.next_if_eq(&']').is_some();
            let chosen = index.parse::<usize>().ok().and_then(|index| index.checked_sub(1));
            is_reordered = true;
            match chosen.filter(|chosen| is_closed && *chosen < arguments.len()) {
                Some(chosen) => next = chosen,
                None => {
                    text.push_str(&format!("%!{}(BADINDEX)", rest.next().unwrap_or(']')));
                    continue;
                }
            }
        }
        match rest.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(letter) => match arguments.get(next) {
                None => text.push_str(&format!("%!{letter}(MISSING)")),
                Some(argument) => {
                    next += 1;
                    text.push_str(&verb.write(letter, argument));
                }
            },
        }
    }
    if !is_reordered && next < arguments.len() {
        let more = arguments[next..].iter().map(|argument| format!("string={argument}"));
        text.push_str(&format!("%!(EXTRA {})", more.collect::<Vec<_>>().join(", ")));
    }
    text
}

fn number(rest: &mut Peekable<Chars<'_>>) -> Option<usize> {
    let digits: String = std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).collect();
    digits.parse::<usize>().ok().map(|number| number.min(MAX_WIDTH))
}

/// The widest field: a format is no way to fill the memory.
const MAX_WIDTH: usize = 1 << 16;

/// What stands between `%` and the verb's letter.
#[derive(Debug, Default)]
struct Verb {
    is_left: bool,
    is_zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Verb {
    fn write(&self, letter: char, argument: &str) -> String {
        let cut: String = match self.precision {
            Some(precision) => argument.chars().take(precision).collect(),
            None => argument.to_owned(),
        };
        let hex = |digits: &dyn Fn(u8) -> String| cut.bytes().map(digits).collect::<String>();
        let written = match letter {
            's' | 'v' => cut,
            'q' => quoted(&cut),
            'x' => hex(&|byte| format!("{byte:02x}")),
            'X' => hex(&|byte| format!("{byte:02X}")),
            'T' => "string".to_owned(),
            _ => format!("%!{letter}(string={argument})"),
        };
        let missing = self.width.unwrap_or(0).saturating_sub(written.chars().count());
        match (self.is_left, self.is_zero) {
            (true, _) => written + &" ".repeat(missing),
            (false, true) => "0".repeat(missing) + &written,
            (false, false) => " ".repeat(missing) + &written,
        }
    }
}

/// A text as Go's source has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(control))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go's `fmt.Sprintf` writes of the same.
    #[test]
    fn formats_are_read_as_go_reads_them() {
        for (format, expected) in [
            ("%s='%s' ", "K='a b' "),
            ("%v=%v;", "K=a b;"),
            ("set %s=%q\n", "set K=\"a b\"\n"),
            ("%[2]s is %[1]s, %[1]s", "a b is K, K"),
            ("100%% %s %s", "100% K a b"),
            ("[%5s|%-5s]", "[    K|a b  ]"),
            ("%s %.1s", "K a"),
            ("%x %X", "4b 612062"),
            ("%s", "K%!(EXTRA string=a b)"),
            ("", "%!(EXTRA string=K, string=a b)"),
            ("%s %s %s", "K a b %!s(MISSING)"),
            ("%d %s", "%!d(string=K) a b"),
            ("%[3]s %s", "%!s(BADINDEX) K"),
            ("%[1]s", "K"),
            ("%s %s%", "K a b%!(NOVERB)"),
            ("ü%s%s", "üKa b"),
        ] {
            assert_eq!(printf(format, &["K", "a b"]), expected, "{format}");
        }
        assert_eq!(printf("%s=%q", &["K", "a\"b\\\n\u{7}é"]), "K=\"a\\\"b\\\\\\n\\x07é\"");
    }
}
