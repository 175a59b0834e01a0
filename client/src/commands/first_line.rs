//! What a list shows of a text that may be long.

/// Longest line that is shown, in characters; `kiln logs` shows all of it.
const MAX_CHARACTERS: usize = 300;

/// Returns the first line that is not empty, cut when it is long.
pub(super) fn first_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_left_and_that_is_cut_where_a_character_ends() {
        assert_eq!(first_line("\n  one\ntwo"), "one");
        assert_eq!(first_line(" \n"), "");
        assert_eq!(first_line(&"ä".repeat(300)), "ä".repeat(300));
        assert_eq!(first_line(&"ä".repeat(301)), format!("{} …", "ä".repeat(300)));
    }
}
