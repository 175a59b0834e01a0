//! The man pages in `docs/man`, as mandoc reads them, and what they and the units refer to. Beside the command lines, unit tests of the
//! client and the daemon compare them with what the programs take.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_tests::tool;

/// Pages of others that ours name.
const OTHERS: [&str; 3] = ["busctl(1)", "pkttyagent(1)", "systemctl(1)"];

/// What mandoc finds in every page: they have no date, so that they change only when they say something else.
const NO_DATE: &str = "WARNING: missing date, using \"\"";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> =
        std::fs::read_dir(root().join("docs/man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// What mandoc has to say, but for the date.
fn complaints(pages: &[PathBuf]) -> Vec<String> {
    let output = Command::new("mandoc").args(["-Tlint", "-Wwarning"]).args(pages).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    said.lines().filter(|line| !line.contains(NO_DATE)).map(str::to_owned).collect()
}

#[test]
fn mandoc_finds_nothing_wrong_with_the_pages() {
    if !tool("mandoc") {
        return;
    }
    let pages = pages();
    assert!(pages.len() > 30, "{pages:?}");
    assert_eq!(complaints(&pages), Vec::<String>::new());

    // What it would say of a fault, so that the silence above means something.
    let scratch = tempfile::tempdir().unwrap();
    let broken = scratch.path().join("broken.1");
    std::fs::write(&broken, ".TH broken 1 \"\" x x\n.SH NAME\nbroken - x\n.RE\n.nosuch\n").unwrap();
    assert!(!complaints(&[broken]).is_empty());
}

#[test]
fn every_page_that_is_named_is_there() {
    let there: BTreeSet<String> = pages()
        .iter()
        .map(|path| {
            let (name, section) = path.file_name().unwrap().to_str().unwrap().rsplit_once('.').unwrap();
            format!("{name}({section})")
        })
        .chain(OTHERS.map(str::to_owned))
        .collect();
    let mut named = BTreeSet::new();
    for path in pages() {
        let text = std::fs::read_to_string(path).unwrap().replace("\\-", "-");
        for section in ["(1)", "(5)", "(8)"] {
            for (at, _) in text.match_indices(section) {
                let of_a_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                let before = text[..at].trim_end_matches("\\fR");
                let name = before.rsplit(|c: char| !of_a_name(c)).next().unwrap().trim_start_matches("fB");
                named.insert(format!("{name}{section}"));
            }
        }
    }
    assert!(named.len() > 30 && named.is_subset(&there), "{:?}", named.difference(&there));
    for unit in ["kilnd.service", "kilnd.socket"] {
        let text = std::fs::read_to_string(root().join("systemd/units/user").join(unit)).unwrap();
        let page = text.lines().find_map(|line| line.strip_prefix("Documentation=man:")).unwrap();
        assert!(there.contains(page), "{unit} names {page}");
    }
}
