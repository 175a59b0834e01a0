//! Differences between two texts, as `diff -u` shows them.

use similar::TextDiff;

/// Lines around a change.
const CONTEXT_LINES: usize = 3;

/// Returns the unified difference, with Packer's names for the two sides; empty when there is none.
pub(super) fn unified(path: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let (from, to) = (format!("old/{path}"), format!("new/{path}"));
    diff.unified_diff().context_radius(CONTEXT_LINES).header(&from, &to).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_its_surroundings() {
        let old = "1\n2\n3\n4\n5\nx=1\n6\n7\n8\n9\n";
        let expected = "--- old/a.pkr.hcl\n+++ new/a.pkr.hcl\n@@ -3,7 +3,7 @@\n 3\n 4\n 5\n-x=1\n+x = 1\n 6\n 7\n 8\n";
        assert_eq!(unified("a.pkr.hcl", old, &old.replace("x=1", "x = 1")), expected);
        assert_eq!(unified("a.pkr.hcl", old, old), "");
        let unended = unified("a", "x=1", "x = 1");
        assert_eq!(unended.matches("\\ No newline at end of file").count(), 2, "{unended}");
    }
}
