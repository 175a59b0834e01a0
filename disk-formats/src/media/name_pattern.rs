//! Patterns for one file name, in the language of Go's `filepath.Match`, which templates are written for.
//!
//! The usual crates speak another dialect (`{a,b}`, `**`) and match bytes, so that `?` misses `é`.

/// A pattern for one component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamePattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// `*`
    AnyText,
    /// `?`
    AnyCharacter,
    /// `[a-z]`, `[^a-z]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Character(char),
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

impl NamePattern {
    /// Parses a pattern; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut characters = text.chars().peekable();
        let mut pieces = Vec::new();
        while let Some(character) = characters.next() {
            pieces.push(match character {
                '*' => Piece::AnyText,
                '?' => Piece::AnyCharacter,
                '[' => class(&mut characters)?,
                '\\' => Piece::Character(characters.next().ok_or("a `\\` has nothing behind it")?),
                other => Piece::Character(other),
            });
        }
        Ok(Self { pieces })
    }

    /// Says whether the whole name matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut piece, mut position) = (0, 0);
        // Where the last `*` stands, and how much of the name it has left to what follows it.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.pieces.get(piece) {
                Some(Piece::AnyText) => {
                    retry = Some((piece, position));
                    piece += 1;
                    continue;
                }
                Some(single) if position < name.len() && single.accepts(name[position]) => {
                    piece += 1;
                    position += 1;
                    continue;
                }
                None if position == name.len() => return true,
                _ => {}
            }
            match retry {
                Some((star, start)) if start < name.len() => {
                    retry = Some((star, start + 1));
                    piece = star + 1;
                    position = start + 1;
                }
                _ => return false,
            }
        }
    }
}

impl Piece {
    fn accepts(&self, character: char) -> bool {
        match self {
            Self::AnyText => false,
            Self::AnyCharacter => true,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
            }
            Self::Character(expected) => *expected == character,
        }
    }
}

/// Parses a class behind its `[`.
fn class(characters: &mut Characters<'_>) -> Result<Piece, &'static str> {
    let negated = characters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && characters.next_if_eq(&']').is_some() {
            return Ok(Piece::Class { negated, ranges });
        }
        let low = class_character(characters)?;
        let high = if characters.next_if_eq(&'-').is_some() { class_character(characters)? } else { low };
        ranges.push((low, high));
    }
}

fn class_character(characters: &mut Characters<'_>) -> Result<char, &'static str> {
    match characters.next() {
        None => Err("a `[` is not closed"),
        Some('-' | ']') => Err("a `[…]` is empty, or has `-` or `]` where a character should be (write `\\-`, `\\]`)"),
        Some('\\') => characters.next().ok_or("a `[` is not closed"),
        Some(character) => Ok(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        NamePattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn matches_like_go() {
        for (pattern, name) in [
            ("*", ""),
            ("*", ".hidden"),
            ("*.xml", "a.b.xml"),
            ("a*b*c", "aXbYbZc"),
            ("?.xml", "é.xml"),
            ("[a-c]x", "bx"),
            ("[^a-c]x", "äx"),
            ("[!a]", "!"),
            ("[\\]\\-]", "-"),
            ("{a,b}*", "{a,b}c"),
            ("**", "x"),
            ("\\*", "*"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("?", ""), ("*.xml", "a.xmlx"), ("[a-c]", "d"), ("[^a]", "a"), ("\\*", "x"), ("a", "ab")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_are_cheap() {
        assert!(!matches(&"a*".repeat(60), &("a".repeat(255) + "b").replace('b', "")[..59]));
        assert!(!matches(&("a*".repeat(60) + "b"), &"a".repeat(255)));
    }

    #[test]
    fn refuses_what_go_refuses() {
        for pattern in ["[", "[]", "[]a]", "[a", "[a-", "[a-]", "[-a]", "[^]", "a\\", "[\\"] {
            assert!(NamePattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
