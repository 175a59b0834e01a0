//! Owns what functions may let slip of secrets: their results, and the reasons why they refuse an argument.

use std::collections::HashSet;

use crate::diagnostics::redact::Redactor;
use crate::language::value::{Data, Value};

/// Texts of one result that are remembered.
const MAX_TEXTS: usize = 64;
/// Characters in a row that give a secret away.
const RUN: usize = 4;

/// Remembers the texts of a result that was computed from secrets.
pub(super) fn remember(value: &Value, redactor: &Redactor) {
    let mut left = MAX_TEXTS;
    walk(value, &mut |text| {
        if left > 0 {
            left -= 1;
            redactor.add_derived(text);
        }
    });
}

fn walk(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value.data() {
        Data::String(text) => visit(text),
        _ => value.children().for_each(|child| walk(child, visit)),
    }
}

/// Reports whether a message shows a part of a sensitive argument.
pub(super) fn gives_away(message: &str, arguments: &[Value]) -> bool {
    let message = message.to_lowercase();
    let characters: Vec<char> = message.chars().collect();
    let runs: HashSet<&[char]> = characters.windows(RUN).collect();
    let words: HashSet<&str> = message.split(|c: char| !c.is_alphanumeric()).collect();
    let quoted: HashSet<char> =
        characters.windows(3).filter_map(|part| if let ['\'', c, '\''] = part { Some(*c) } else { None }).collect();
    let reveals = |argument: &Value| {
        shows(argument, false, &runs, &words) || (!quoted.is_empty() && holds(argument, false, &quoted))
    };
    arguments.iter().any(reveals)
}

/// Reports whether one of the characters, of which parsers quote the first that does not fit, is in a secret.
fn holds(value: &Value, inherited: bool, characters: &HashSet<char>) -> bool {
    let sensitive = inherited || value.is_sensitive();
    match value.data() {
        Data::String(text) => sensitive && text.chars().flat_map(char::to_lowercase).any(|c| characters.contains(&c)),
        _ => value.children().any(|child| holds(child, sensitive, characters)),
    }
}

fn shows(value: &Value, inherited: bool, runs: &HashSet<&[char]>, words: &HashSet<&str>) -> bool {
    let sensitive = inherited || value.is_sensitive();
    let text = match value.data() {
        Data::String(text) => text.to_lowercase(),
        Data::Number(number) => number.to_string(),
        _ => return value.children().any(|child| shows(child, sensitive, runs, words)),
    };
    if !sensitive {
        return false;
    }
    let characters: Vec<char> = text.chars().collect();
    if characters.len() < RUN {
        return words.contains(text.as_str());
    }
    characters.windows(RUN).any(|run| runs.contains(run))
}
