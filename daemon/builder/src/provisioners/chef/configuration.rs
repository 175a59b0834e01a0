//! What Chef reads: one Ruby statement a line.

/// Writes `name "value"`, each in a line of its own, for those that have a value.
pub(super) fn lines(statements: &[(&str, &str)]) -> String {
    let set = statements.iter().filter(|(_, value)| !value.is_empty());
    set.map(|(name, value)| format!("{name} {}\n", text(value))).collect()
}

/// A text in Ruby.
pub(super) fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace("#{", "\\#{"))
}

/// Go templates would read braces in a value; they are none of ours.
pub(super) fn literal(text: &str) -> String {
    text.replace("{{", "{{`{{`}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_by_ruby_as_it_is() {
        assert_eq!(
            lines(&[("a", "x"), ("b", ""), ("c", "say \"#{y}\" \\")]),
            "a \"x\"\nc \"say \\\"\\#{y}\\\" \\\\\"\n"
        );
        assert_eq!(literal("a {{ b"), "a {{`{{`}} b");
    }
}
