//! Owns "did you mean": the nearest of a few names.

/// Returns `did you mean "NAME"?` for the candidate nearest to `given`, if one is near enough.
#[must_use]
pub fn did_you_mean<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(given, candidates).map(|name| format!("did you mean {name:?}?"))
}

/// Returns the name that a hint made by [`did_you_mean`] suggests.
pub(crate) fn suggested(hint: &str) -> Option<&str> {
    hint.strip_prefix("did you mean \"")?.split_once("\"?").map(|(name, _)| name)
}

/// Returns the candidate that needs the fewest edits, at most a third of the longer name's length (and at least one).
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(given);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != given)
        .filter_map(|candidate| {
            let distance = edits(&folded, &fold(candidate));
            let allowed = (given.len().max(candidate.len()) / 3).clamp(1, 4);
            (distance <= allowed && distance < given.len().max(1)).then_some((distance, candidate))
        })
        .min_by_key(|&(distance, candidate)| (distance, candidate))
        .map(|(_, candidate)| candidate)
}

/// Makes case and the choice of `-` or `_` not count.
fn fold(name: &str) -> Vec<char> {
    name.chars().take(100).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Counts insertions, deletions, replacements and swaps of neighbours.
fn edits(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, &a) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &b) in right.iter().enumerate() {
            let mut cost = (last[column] + usize::from(a != b)).min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && a == right[column - 1] && left[row - 1] == b {
                cost = cost.min(before[column - 1] + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typos() {
        assert_eq!(nearest("memroy", ["memory", "cpus"]), Some("memory"));
        assert_eq!(nearest("disk-size", ["disk_size"]), Some("disk_size"));
        assert_eq!(nearest("shel", ["shell", "shell-local"]), Some("shell"));
        assert_eq!(nearest("foo", ["memory"]), None);
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(suggested(&did_you_mean("shel", ["shell"]).unwrap()), Some("shell"));
        assert_eq!(suggested("write another name"), None);
    }
}
