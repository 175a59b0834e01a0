//! What a list shows of a text that may be long.

/// Longest line that is shown, in characters; `kiln logs` shows all of it.
const MAX_CHARACTERS: usize = 300;

/// How Packer begins a list of errors: a line that says nothing by itself.
const HEADING_END: &str = " error(s) occurred:";

/// Returns the first line that says something, cut when it is long; of a list of errors the first, and how many others there are.
pub(super) fn first_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    if line.ends_with(HEADING_END) {
        let mut errors = text.lines().filter_map(|line| line.strip_prefix("* "));
        if let Some(first) = errors.next() {
            let others = errors.count();
            return if others == 0 { cut(first) } else { format!("{}, and {others} more", cut(first)) };
        }
    }
    cut(line)
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_list_of_errors_the_first_is_left() {
        let one = "1 error(s) occurred:\n\n* Post-processor failed: Script exited with 4.\nAllowed: [0]";
        assert_eq!(first_line(one), "Post-processor failed: Script exited with 4.");
        let three = "3 error(s) occurred:\n\n* a\nb\n* c\n* d";
        assert_eq!(first_line(three), "a, and 2 more");
        assert_eq!(first_line("1 error(s) occurred:\nnothing else"), "1 error(s) occurred:");
    }

    #[test]
    fn one_line_is_left_and_that_is_cut_where_a_character_ends() {
        assert_eq!(first_line("\n  one\ntwo"), "one");
        assert_eq!(first_line(" \n"), "");
        assert_eq!(first_line(&"ä".repeat(300)), "ä".repeat(300));
        assert_eq!(first_line(&"ä".repeat(301)), format!("{} …", "ä".repeat(300)));
    }
}
