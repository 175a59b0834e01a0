//! The man pages of kilnd, of `kiln.toml` and of `org.kiln.Kiln1`, in `docs/man`: the first made from the definition that reads the command
//! line, the last from the tables of the bus, the other from
//! the table in `docs/configuration.md`, whose keys are compared with those that are read. `./x man` writes them.

mod bus;

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use kiln_protocol::environment::{Reader, VARIABLES, Variable};
use kiln_protocol::places::KILN_SOCKET;

use super::Arguments;
use crate::config::environment::{KILN_CONFINED, KILN_LOG, KILN_MAX_JOBS};
use crate::event_log::KILN_MAX_LOG_MIB;

const VERSION: &str = concat!("kiln ", env!("CARGO_PKG_VERSION"));

/// What kilnd does, for who finds it in a list of processes.
const DESCRIPTION: [&str; 4] = [
    "kilnd keeps the queue and the journal of one person's jobs, and starts a process of that person for each, `kilnd worker`. It listens \
     on a Unix socket only; the API is HTTP, described by /v1/openapi.json.",
    "kiln(1) starts it when nobody answers, and it needs no root and no configuration. Or systemd starts it by its socket: \
     `systemctl --user enable --now kilnd.socket`; one that runs already is asked to end.",
    "A worker outlives it: builds go on when kilnd is stopped, restarted, upgraded or killed, and the next kilnd takes them up. After an \
     upgrade the old program serves on until `kiln daemon stop`; the next command starts the new one.",
    "With --system one that root starts serves all users of a machine: each sees and touches jobs of its own only, whose workers run as that \
     user. Its places are /run/kiln/kiln.sock, /var/lib/kiln, /var/cache/kiln and /etc/kiln/kiln.toml; a client \
     uses it where its user has no daemon.",
];

/// What it does when it gets a signal.
const SIGNALS: [(&str, &str); 2] = [
    ("SIGTERM, SIGINT", "Ends it. Jobs that run go on."),
    ("SIGHUP", "Reads kiln.toml(5) anew. A file that is wrong changes nothing; the log says why."),
];

/// Files that are there unless the variables of the XDG base directory specification say otherwise.
const FILES: [(&str, &str); 4] = [
    (
        "$XDG_RUNTIME_DIR/kiln/kiln.sock",
        "The socket; /tmp/kiln-UID/kiln.sock where the variable is not set, $KILN_SOCKET where that is.",
    ),
    ("~/.local/state/kiln", "Journal and jobs. Removing a package leaves it."),
    ("~/.local/state/kiln/kilnd.log", "The log."),
    ("~/.config/kiln/kiln.toml", "The configuration."),
];

fn page_of_kilnd() -> String {
    let man = Man::new(Arguments::command().about("the daemon that builds machine images"));
    let mut text = Vec::new();
    man.render_name_section(&mut text).unwrap();
    man.render_synopsis_section(&mut text).unwrap();
    // None of the commands below it is for people.
    let text = String::from_utf8(text).unwrap().replace(" [\\fIsubcommands\\fR]", "");
    assert!(!text.contains("subcommands"), "{text}");
    let mut text = text.into_bytes();
    let mut more = Roff::new();
    more.control("SH", ["DESCRIPTION"]);
    for (index, paragraph) in DESCRIPTION.iter().enumerate() {
        if index > 0 {
            more.control("PP", []);
        }
        more.text(with_code(paragraph));
    }
    text.extend(more.to_roff().into_bytes());
    man.render_options_section(&mut text).unwrap();
    let mut more = Roff::new();
    let environment: Vec<_> =
        Variable::read_by(&[Reader::Daemon]).map(|variable| (variable.name, variable.meaning)).collect();
    for (title, rows) in [("SIGNALS", &SIGNALS[..]), ("ENVIRONMENT", &environment), ("FILES", &FILES)] {
        more.control("SH", [title]);
        for (term, meaning) in rows {
            more.control("TP", []).text([bold(*term)]).text(with_code(meaning));
        }
        if title == "ENVIRONMENT" {
            more.control("PP", []).text([roman("kiln.toml(5) has all variables, with who reads them.")]);
        }
    }
    more.control("SH", ["SEE ALSO"]).text([roman("kiln(1), kiln.toml(5), org.kiln.Kiln1(5), systemctl(1)")]);
    text.extend(more.to_roff().into_bytes());
    titled("kilnd", "8", &String::from_utf8(text).unwrap())
}

fn page_of_the_file() -> String {
    let documentation = include_str!("../../../docs/configuration.md");
    let mut page = Roff::new();
    page.control("SH", ["NAME"]).text([roman("kiln.toml - configuration of kilnd")]);
    page.control("SH", ["DESCRIPTION"]);
    let (before, after) =
        documentation.split_once("\n| key | variable | values | unset means |\n|---|---|---|---|\n").unwrap();
    let (rows, after) = after.split_once("\n\n").unwrap();
    page.text(with_code(&before.lines().skip(1).collect::<Vec<_>>().join(" ")));
    page.control("SH", ["KEYS"]);
    for row in rows.lines() {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [key, variable, values, unset] = cells[..] else { panic!("{row}") };
        page.control("TP", []).text([bold(key.trim_matches('`'))]).text(with_code(&format!("{values}.")));
        let variable =
            if variable.is_empty() { String::new() } else { format!(" The variable {variable} comes before it.") };
        page.control("sp", []).text(with_code(&format!("Unset: {unset}.{variable}")));
    }
    page.control("SH", ["RELOADING"]);
    let (paragraph, _) = after.split_once("\n\n").unwrap();
    page.text(with_code(&paragraph.replace('\n', " ")));
    page.control("SH", ["ENVIRONMENT"]);
    page.text(with_code(
        "Who reads each stands behind its name; what a job reads is that of the shell which submits it. Those of components, as `AWS_PROFILE` and \
         `HTTPS_PROXY`, stand in their documents. `kiln` and `kilnd` warn of a variable that begins with `KILN_` and is not here.",
    ));
    for variable in VARIABLES {
        let term = [bold(variable.name), roman(format!(" ({})", variable.readers()))];
        page.control("TP", []).text(term).text(with_code(variable.meaning));
    }
    page.control("SH", ["FILES"]).text([roman("Documents that are named here are in /usr/share/doc/kiln/docs.")]);
    page.control("SH", ["SEE ALSO"]).text([roman("kilnd(8), kiln(1)")]);
    titled("kiln.toml", "5", &page.to_roff())
}

/// Sets what stands in backticks in bold type, and leaves of links, which nobody can follow on a page, their text.
fn with_code(text: &str) -> Vec<Inline> {
    let text = without_links(text.trim());
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part) }).collect()
}

fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, (words, after))) =
        rest.split_once('[').and_then(|(before, link)| Some((before, link.split_once("](")?)))
    {
        let (_, after) = after.split_once(')').unwrap_or((after, ""));
        plain.push_str(before);
        plain.push_str(words);
        rest = after;
    }
    plain + rest
}

/// Puts the title on a page and leaves out blanks at the ends of lines, and what the parts have in common but once. Without a date, so that
/// a page changes only when it says something else.
fn titled(name: &str, section: &str, page: &str) -> String {
    let apostrophe = [".ie \\n(.g .ds Aq \\(aq", ".el .ds Aq '"];
    let mut text = format!("{}\n.TH {name} {section} \"\" \"{VERSION}\" Kiln\n", apostrophe.join("\n"));
    for line in page.lines().filter(|line| !apostrophe.contains(line)) {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `KILN_BLESS=1` writes the pages instead.
#[test]
fn the_man_pages_are_those_of_the_program_and_its_file() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    let pages = [("kilnd.8", page_of_kilnd()), ("kiln.toml.5", page_of_the_file()), ("org.kiln.Kiln1.5", bus::page())];
    for (name, text) in pages {
        let path = directory.join(name);
        if std::env::var_os("KILN_BLESS").is_some() {
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "docs/man/{name} is not what kilnd takes; ./x man writes it");
    }
}

#[test]
fn the_pages_tell_of_every_option_and_key() {
    let kilnd = page_of_kilnd();
    for words in ["\\-\\-user", "\\-\\-print\\-config", "SIGHUP", ".TH kilnd 8"] {
        assert!(kilnd.contains(words), "{words}: {kilnd}");
    }
    assert!(!kilnd.contains("detached"), "a hidden option is shown");
    let file = page_of_the_file();
    for words in ["max_jobs", "exit_on_idle", "256", "KILN_MAX_JOBS", "KILN_MAX_LOG_MIB", "SIGHUP"] {
        assert!(file.contains(words), "{words}: {file}");
    }
    assert!(file.contains("(dbus.md)") && !file.contains("]("), "a link is shown raw: {file}");
    // What is read by these names is in the table.
    for name in [KILN_LOG, KILN_MAX_JOBS, KILN_CONFINED, KILN_MAX_LOG_MIB, KILN_SOCKET] {
        assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name}");
    }
    for variable in Variable::read_by(&[Reader::Daemon]) {
        assert!(kilnd.contains(&format!("\\fB{}\\fR", variable.name)), "{}: {kilnd}", variable.name);
    }
}

/// The table of variables in `docs/configuration.md`; `KILN_BLESS=1` writes it instead.
#[test]
fn the_variables_of_the_documentation_are_those_of_the_table_for_the_man_pages() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let head = "| variable | read by | meaning |\n|---|---|---|\n";
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once(head).unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    let row = |variable: &Variable| format!("| `{}` | {} | {} |", variable.name, variable.readers(), variable.meaning);
    let rows: Vec<_> = VARIABLES.iter().map(row).collect();
    let expected = format!("{before}{head}{}\n\n{after}", rows.join("\n"));
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == expected, "docs/configuration.md has other variables than the programs read; ./x man writes them");
}
