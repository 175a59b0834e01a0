//! The man pages of kiln and of each of its commands, in `docs/man`: made from the definition that reads the command line, with what a
//! definition cannot say beside it. `./x man` writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use kiln_protocol::environment::{Reader, Variable};

use crate::arguments::Arguments;

/// What `kiln` is, below its one line.
const DESCRIPTION: [&str; 4] = [
    "The work is done by kilnd(8), one for each person, which kiln starts where nobody answers. A build goes on when the terminal is \
     closed; kiln-attach(1) shows it from its first line on.",
    "Flags are those of Packer, and may begin with one dash or two: `-var x`, `-var=x` and `--var=x` are the same. `-machine-readable` \
     prints lines for programs, wherever it stands.",
    "Where a kilnd for all users wants a password of an administrator, or of you, you are asked for it: by the agent of your desktop or, where \
     there is none, here by pkttyagent(1). Nobody is asked where standard input or standard error is no terminal, where `CI` is set, with \
     `-machine-readable`, or with `-no-ask-password`, wherever that stands: then what wants a password is refused, and a template that \
     wants one to leave its guest fails and says so. A template that stays in its guest wants none.",
    "`kiln help` with the name of a command prints what stands in that command's page.",
];

/// Exit codes of all commands; some have more, which their pages tell.
const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "What was asked for is done."),
    ("1", "It is not: standard error, or the output of the build, says why and what to do."),
    ("127", "There is no such command."),
];

/// Files that are there unless the variables of the XDG base directory specification say otherwise.
const FILES: [(&str, &str); 4] = [
    ("$XDG_RUNTIME_DIR/kiln/kiln.sock", "The daemon's socket; /tmp/kiln-UID/kiln.sock where the variable is not set."),
    ("~/.local/state/kiln", "Journal, jobs, and the log kilnd.log."),
    ("~/.cache/kiln", "Downloads."),
    ("~/.config/kiln/kiln.toml", "The daemon's configuration: kiln.toml(5)."),
];

/// Returns the pages by the names of their files.
fn pages() -> BTreeMap<String, String> {
    let mut root = Arguments::command();
    root.build();
    let mut pages = BTreeMap::new();
    let mut left = vec![(root, None)];
    while let Some((command, parent)) = left.pop() {
        let name = page_name(&command);
        let below: Vec<Command> = command.get_subcommands().filter(|below| !below.is_hide_set()).cloned().collect();
        pages.insert(format!("{name}.1"), page(&command, parent.as_deref(), &below));
        left.extend(below.into_iter().map(|below| (below, Some(name.clone()))));
    }
    pages
}

/// Returns `kiln-image-info` for `kiln image info`.
fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, parent: Option<&str>, below: &[Command]) -> String {
    let man = Man::new(command.clone());
    // Without a date, so that a page changes only when it says something else; the crate loses an empty one.
    let head = format!(".TH {} 1 \"\" \"kiln {}\" Kiln\n", page_name(command), env!("CARGO_PKG_VERSION"));
    let mut text = head.into_bytes();
    man.render_name_section(&mut text).unwrap();
    man.render_synopsis_section(&mut text).unwrap();
    man.render_description_section(&mut text).unwrap();
    let mut more = Roff::new();
    if parent.is_none() {
        for paragraph in DESCRIPTION {
            more.control("PP", []).text([roman(paragraph)]);
        }
    }
    text.extend(more.to_roff().into_bytes());
    man.render_options_section(&mut text).unwrap();
    let mut more = Roff::new();
    if !below.is_empty() {
        more.control("SH", ["COMMANDS"]);
        let about = |below: &Command| below.get_about().map(ToString::to_string).unwrap_or_default();
        let rows = below.iter().map(|below| (format!("{}(1)", page_name(below)), about(below)));
        definitions(&mut more, rows);
    }
    if let Some(notes) = command.get_after_help() {
        more.control("SH", ["NOTES"]).control("nf", []);
        for line in notes.to_string().lines() {
            more.text([roman(line)]);
        }
        more.control("fi", []);
    }
    if parent.is_none() {
        // The environment of the shell as a whole goes to the job.
        let environment: Vec<_> = Variable::read_by(&[Reader::Client, Reader::Job])
            .map(|variable| (variable.name, variable.meaning))
            .collect();
        for (title, rows) in [("EXIT STATUS", &EXIT_STATUS[..]), ("ENVIRONMENT", &environment), ("FILES", &FILES)] {
            more.control("SH", [title]);
            definitions(&mut more, rows.iter().map(|(term, meaning)| ((*term).to_owned(), (*meaning).to_owned())));
            if title == "ENVIRONMENT" {
                more.control("PP", []).text([roman("kiln.toml(5) has all variables, with who reads them.")]);
            }
        }
    }
    let others: Vec<String> = match parent {
        None => vec!["kilnd(8)".to_owned(), "kiln.toml(5)".to_owned()],
        Some(parent) => {
            below.iter().map(page_name).chain([parent.to_owned()]).map(|name| format!("{name}(1)")).collect()
        }
    };
    more.control("SH", ["SEE ALSO"]).text([roman(others.join(", "))]);
    text.extend(more.to_roff().into_bytes());
    tidy(&String::from_utf8(text).unwrap())
}

fn definitions(roff: &mut Roff, rows: impl Iterator<Item = (String, String)>) {
    for (term, meaning) in rows {
        roff.control("TP", []).text([bold(term)]).text([roman(meaning)]);
    }
}

/// The lines with which each part begins that the crate writes; once is enough.
const APOSTROPHE: [&str; 2] = [".ie \\n(.g .ds Aq \\(aq", ".el .ds Aq '"];

/// Puts the parts of a page together: one definition of the apostrophe, bold type for what the help has in backticks, no empty lines
/// and breaks beside each other, no blanks at the ends of lines.
fn tidy(page: &str) -> String {
    let mut text = APOSTROPHE.join("\n") + "\n";
    for line in page.replace(".br\n\n.br\n", ".sp\n").lines().filter(|line| !APOSTROPHE.contains(line)) {
        let is_text = !line.starts_with('.');
        let mut is_code = false;
        for character in line.trim_end().chars() {
            if is_text && character == '`' {
                text.push_str(if is_code { "\\fR" } else { "\\fB" });
                is_code = !is_code;
            } else {
                text.push(character);
            }
        }
        assert!(!is_code, "a backtick without another: {line}");
        text.push('\n');
    }
    text
}

/// `KILN_BLESS=1` writes the pages instead.
#[test]
fn the_man_pages_are_those_of_the_commands() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    let pages = pages();
    // kilnd and its configuration have pages that the daemon's tests compare.
    let ours = |path: &PathBuf| path.extension().is_some_and(|section| section == "1");
    let found = || std::fs::read_dir(&directory).into_iter().flatten().map(|entry| entry.unwrap().path()).filter(ours);
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::create_dir_all(&directory).unwrap();
        found().for_each(|path| std::fs::remove_file(path).unwrap());
        for (name, text) in &pages {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let found = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert!(found == *text, "docs/man/{name} is not what the command line takes; ./x man writes it");
    }
    assert_eq!(found().count(), pages.len(), "docs/man holds a page of no command");
}

#[test]
fn a_page_tells_all_that_the_help_tells() {
    let pages = pages();
    let build = &pages["kiln-build.1"];
    for words in
        [".TH kiln-build 1", "\\fB\\-\\-on\\-error\\fR", "run\\-cleanup\\-provisioner", "kiln(1)", "\\fB\\-\\fR"]
    {
        assert!(build.contains(words), "{words}: {build}");
    }
    assert!(!build.contains("skip\\-enforcement"), "a hidden flag is shown");
    assert!(pages["kiln-convert.1"].contains("kiln convert web.qcow2 web.ova web.vhdx"));
    assert!(pages["kiln-image.1"].contains("kiln\\-image\\-check(1)") && pages.contains_key("kiln-image-check.1"));
    assert!(pages.len() > 30, "{:?}", pages.keys());
}
