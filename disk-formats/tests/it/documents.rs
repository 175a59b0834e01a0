//! The table of formats beside what is made from it: the page of formats, and the help of `kiln convert`; and no second table anywhere.
//!
//! `./x components` writes them anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use kiln_disk_formats::{EXPORT_WORDS, FORMATS, FormatRow};

/// Where the lines of the help end.
const HELP_WIDTH: usize = 100;

/// Files that hold several names of formats and are no list of ours.
const NO_TABLES: [(&str, &str); 3] = [
    ("daemon/builder/src/options/vmware.rs", "the values that Packer's vmware builders take for their own export"),
    ("daemon/builder/src/post_processors/vagrant/content.rs", "what the box of each of Vagrant's providers holds"),
    ("hypervisors/src/spec/hardware.rs", "QEMU's names of the formats that a machine's drive may have"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn code(words: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn page() -> String {
    let mut text = "# Formats\n\nMade from the table of formats by `./x components`. `kiln convert` goes by the names, which are suffixes \
                    too; the export post-processor and the `format` of a builder by the words in templates.\n\n\
                    | format | names | in templates | qemu-img's name | |\n|---|---|---|---|---|\n"
        .to_owned();
    for row in FORMATS {
        let words = row.exports.iter().map(|export| match export.presets {
            [] => format!("`{}`", export.word),
            presets => {
                let presets = presets.iter().map(|(name, value)| format!("{name}={value}"));
                format!("`{}` ({})", export.word, presets.collect::<Vec<_>>().join(", "))
            }
        });
        let words = words.collect::<Vec<_>>().join(", ");
        let qemu = row.qemu_name.map_or_else(String::new, |name| format!("`{name}`"));
        writeln!(text, "| {} | {} | {words} | {qemu} | {} |", row.name(), code(row.names), row.about).unwrap();
    }
    text += "\n## Options\n\nWith `kiln convert` as `-o NAME=VALUE`, or `-o OUTPUT:NAME=VALUE` for one output; in templates in the map \
             `format_options`, as `NAME`, or `WORD:NAME` for one format.\n\n| format | option | values | |\n|---|---|---|---|\n";
    for row in FORMATS {
        for option in row.options {
            let values = option.values.split('|').map(|value| match value.chars().all(char::is_uppercase) {
                true => value.to_lowercase(),
                false => format!("`{value}`"),
            });
            let values = values.collect::<Vec<_>>().join(", ");
            writeln!(text, "| {} | `{}` | {values} | {} |", row.name(), option.name, option.about).unwrap();
        }
    }
    text += "\n## Largest disks\n\nLarger ones are refused before anything is written; only how well a disk compresses is known no \
             earlier than when it is written.\n\n| format | largest disk | why |\n|---|---|---|\n";
    for row in FORMATS {
        for limit in row.limits {
            let chosen: Vec<String> = limit.options.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            writeln!(text, "| {}{} | {} | {} |", row.name(), chosen.concat(), limit.words, limit.why).unwrap();
        }
    }
    text
}

/// The options as the help of `kiln convert` lists them.
fn help() -> String {
    let mut text = String::new();
    for row in FORMATS.into_iter().filter(|row| !row.options.is_empty()) {
        let options: Vec<String> =
            row.options.iter().map(|option| format!("{}={}", option.name, option.values)).collect();
        let mut line = format!("  {:<10}", row.name());
        for (index, option) in options.iter().enumerate() {
            let comma = if index + 1 < options.len() { "," } else { "" };
            if line.len() + option.len() + 2 > HELP_WIDTH && !line.trim_end().ends_with(row.name()) {
                writeln!(text, "{}", line.trim_end()).unwrap();
                line = " ".repeat(12);
            }
            write!(line, "{option}{comma} ").unwrap();
        }
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}

fn is_current(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{path} is not as the table of formats says it: `./x components` writes it");
}

#[test]
fn documents_are_as_the_table_says_it() {
    is_current("docs/formats.md", &page());
    is_current("client/src/arguments/format_options.txt", &help());
    let names: String = FORMATS.into_iter().flat_map(|row| row.names).map(|name| format!("{name}\n")).collect();
    is_current("client/src/arguments/format_names.txt", &names);
    let options = FORMATS.into_iter().flat_map(|row| row.options);
    let switches: BTreeSet<&str> = options
        .filter(|option| option.values.split('|').any(|value| value == "on"))
        .map(|option| option.name)
        .collect();
    let switches: String = switches.into_iter().map(|name| format!("{name}\n")).collect();
    is_current("client/src/arguments/format_switches.txt", &switches);
}

/// What is said of a limit begins with its size, rounded to what is said.
#[test]
fn the_words_of_a_limit_are_its_number() {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("TiB", 1 << 40), ("PiB", 1 << 50)];
    for (row, limit) in FORMATS.into_iter().flat_map(|row| row.limits.iter().map(move |limit| (row, limit))) {
        if limit.words == "8 EiB less a byte" {
            assert_eq!(limit.largest, (8 << 60) - 1);
            continue;
        }
        let words: Vec<&str> = limit.words.split([' ', ',']).collect();
        let (_, unit) = UNITS.into_iter().find(|(unit, _)| *unit == words[1]).expect(limit.words);
        let decimals = words[0].split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
        let number = limit.largest as f64 / unit as f64;
        let off = (number - words[0].parse::<f64>().unwrap()).abs();
        assert!(off <= 0.5 / 10_f64.powi(decimals), "{}: {:?} is {number}", row.name(), limit.words);
    }
}

#[test]
fn no_other_file_lists_the_formats() {
    let names: BTreeSet<&str> =
        FORMATS.into_iter().flat_map(|row: &FormatRow| row.names).chain(&EXPORT_WORDS).copied().collect();
    let mut files = Vec::new();
    for folder in ["client/src", "daemon", "disk-formats/src", "hypervisors/src"] {
        rust_files(&root().join(folder), &mut files);
    }
    let (mut lists, mut excused) = (Vec::new(), 0);
    for file in &files {
        let path = file.strip_prefix(root()).unwrap().to_str().unwrap();
        // Where the names are, and the rows.
        let is_table = path == "disk-formats/src/format.rs" || path.ends_with("/row.rs") || path.ends_with("/rows.rs");
        let is_test = path.contains("tests") || path.contains("/fuzz/") || path.contains("/examples/");
        let text = std::fs::read_to_string(file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let literals: BTreeSet<&str> = lines.flat_map(|line| listed_words(line, &names)).collect();
        let listed: Vec<&&str> = literals.intersection(&names).collect();
        if listed.len() < 3 || is_table || is_test {
            continue;
        }
        match NO_TABLES.iter().any(|(known, _)| *known == path) {
            true => excused += 1,
            false => lists.push(format!("{path}: {listed:?}")),
        }
    }
    assert!(lists.is_empty(), "formats are known in their rows only; read `FORMATS` instead:\n{}", lists.join("\n"));
    assert_eq!(excused, NO_TABLES.len(), "an exception is of no use any more: take it out");
    assert!(files.len() > 300);
}

/// The words in those string literals of a line that are a name, or names in a list; a sentence that mentions some is none.
fn listed_words<'a>(line: &'a str, names: &BTreeSet<&str>) -> Vec<&'a str> {
    let literals = line.split('"').skip(1).step_by(2);
    let words = literals.map(|text| text.split([',', ' ', '|']).filter(|word| !word.is_empty()).collect::<Vec<_>>());
    words.filter(|words| words.iter().all(|word| names.contains(word))).flatten().collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
