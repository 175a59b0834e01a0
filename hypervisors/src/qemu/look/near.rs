//! The names that there are, those nearest to a wrong one first.

/// How many are listed.
const LISTED: usize = 12;

/// The names nearest to `wrong`, and how many there are beside them.
pub(in crate::qemu) fn listed(wrong: &str, names: &[&str]) -> String {
    let mut sorted: Vec<(usize, &str)> = names.iter().map(|name| (distance(wrong, name), *name)).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let shown: Vec<&str> = sorted.iter().take(LISTED).map(|(_, name)| *name).collect();
    match sorted.len() - shown.len() {
        0 if shown.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// How far a name is from another: little where one is a part of the other, else by what would have to be typed.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.to_ascii_lowercase(), right.to_ascii_lowercase());
    let (longer, shorter) = if left.len() < right.len() { (&right, &left) } else { (&left, &right) };
    if shorter.len() > 2 && longer.contains(shorter.as_str()) {
        return 1;
    }
    edits(left.as_bytes(), right.as_bytes())
}

/// Counts insertions, deletions and replacements.
fn edits(left: &[u8], right: &[u8]) -> usize {
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut diagonal = row;
        last[0] = row + 1;
        for (column, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = last[column + 1];
            last[column + 1] = replaced.min(last[column] + 1).min(diagonal + 1);
        }
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ones_come_first_and_the_rest_is_counted() {
        assert_eq!(listed("e1001", &["virtio-net", "e1000e", "e1000"]), "e1000, e1000e, virtio-net");
        assert_eq!(listed("Q35", &["pc", "virt", "q35"]), "q35, pc, virt");
        assert_eq!(listed("skylake", &["athlon", "Skylake-Client"]), "Skylake-Client, athlon");
        assert_eq!(listed("x", &[]), "none");
        let many: Vec<String> = (0..40).map(|number| format!("card-{number:02}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let text = listed("card-39x", &many);
        assert!(text.starts_with("card-39, ") && text.ends_with(" and 28 more"), "{text}");
    }

    #[test]
    fn edits_are_counted() {
        for (left, right, count) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(edits(left.as_bytes(), right.as_bytes()), count, "{left} {right}");
        }
    }
}
