//! Roles and collections that `ansible-galaxy` installs first.

/// What is installed of a file, as the arguments of one run each.
pub(in crate::provisioners) fn runs(
    content: &str,
    file: &str,
    force: &[&str],
    roles: Option<&str>,
    collections: Option<&str>,
) -> Vec<Vec<String>> {
    let has = |key: &str| content.lines().any(|line| line.starts_with(key));
    let arguments = |words: &[&str], path: Option<&str>| -> Vec<String> {
        let path = path.into_iter().flat_map(|path| ["-p", path]);
        words.iter().chain(&["-r", file]).chain(force).copied().chain(path).map(str::to_owned).collect()
    };
    let mut runs = Vec::new();
    // A file without either key is a list of roles, as it was before there were collections.
    if has("roles:") || !has("collections:") {
        runs.push(arguments(&["install"], roles));
    }
    if has("collections:") {
        runs.push(arguments(&["collection", "install"], collections));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &str, force: &[&str], roles: Option<&str>) -> Vec<String> {
        runs(content, "r.yml", force, roles, Some("c")).into_iter().map(|run| run.join(" ")).collect()
    }

    #[test]
    fn the_keys_of_the_file_decide_what_is_installed() {
        assert_eq!(lines("- src: a\n", &[], None), ["install -r r.yml"]);
        assert_eq!(lines("---\nroles:\n- a\n", &["-f"], Some("r")), ["install -r r.yml -f -p r"]);
        assert_eq!(lines("collections:\n- a\n", &[], None), ["collection install -r r.yml -p c"]);
        let both = lines("roles:\n- a\ncollections:\n- b\n", &["-f", "--force-with-deps"], None);
        assert_eq!(both[0], "install -r r.yml -f --force-with-deps");
        assert_eq!(both[1], "collection install -r r.yml -f --force-with-deps -p c");
    }
}
