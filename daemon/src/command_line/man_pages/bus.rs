//! The man page of `org.kiln.Kiln1`: methods and properties of the tables that calls are dispatched by, with the words of `docs/dbus.md`.

use clap_mangen::roff::{Roff, bold, italic, roman};

use super::{titled, with_code};
use crate::bus::{Arguments, OF_THE_BUILDER};

pub(super) fn page() -> String {
    let documentation = include_str!("../../../../docs/dbus.md");
    let section = |title: &str| {
        let (_, text) = documentation.split_once(&format!("\n## {title}\n\n")).unwrap();
        text.split("\n## ").next().unwrap()
    };
    let paragraph = |text: &str| text.split("\n\n").next().unwrap().replace('\n', " ");
    let mut page = Roff::new();
    page.control("SH", ["NAME"]).text([roman("org.kiln.Kiln1 - the machine-image builder on D-Bus")]);
    page.control("SH", ["DESCRIPTION"]);
    let about = documentation.split_once("\n\n").unwrap().1;
    page.text(with_code(&paragraph(about).replace(" says how it stands:", " says how it stands.")));
    page.control("SH", ["OBJECTS"]);
    for row in section("Objects").lines().filter(|line| line.starts_with("| `/") || line.starts_with("| `…")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [path, interfaces, there] = cells[..] else { panic!("{row}") };
        page.control("TP", []).text([bold(path.trim_matches('`').replace('…', "/org/kiln/Kiln1/job/_ID"))]);
        page.text(with_code(&format!("{interfaces}: {there}.")));
    }
    for interface in OF_THE_BUILDER {
        let short = interface.name.rsplit('.').next().unwrap();
        page.control("SH", [interface.name]);
        for method in interface.methods {
            let head = format!("`{short}.{}(", method.name);
            let row = documentation.lines().find(|line| line.starts_with("| `") && line.contains(&head));
            let text =
                row.and_then(|row| row.trim_matches('|').split_once(" | ")).unwrap_or_else(|| panic!("{head}")).1;
            page.control("TP", []).text([bold(method.name), roman(arguments(method.takes, method.returns))]);
            page.text(with_code(&format!("{}.", text.trim())));
        }
        for property in interface.properties {
            let kind = if property.is_constant { "does not change" } else { "changes are told" };
            let heard = if property.is_public { "" } else { "; on the system bus without its value" };
            page.control("TP", []).text([bold(property.name), roman(" "), italic(property.signature)]);
            page.text([roman(format!("Property; {kind}{heard}."))]);
        }
    }
    for (title, of) in [("PROPERTIES", "Properties"), ("ERRORS", "Errors"), ("LIMITS", "Limits")] {
        page.control("SH", [title]).text(with_code(&paragraph(section(of))));
    }
    page.control("SH", ["SEE ALSO"]).text([roman("kilnd(8), kiln(1), busctl(1)")]);
    titled("org.kiln.Kiln1", "5", &page.to_roff())
}

fn arguments(takes: Arguments, returns: Arguments) -> String {
    let list = |of: Arguments| of.iter().map(|(name, kind)| format!("{kind} {name}")).collect::<Vec<_>>().join(", ");
    let returned = if returns.is_empty() { String::new() } else { format!(" \u{2192} {}", list(returns)) };
    format!("({}){returned}", list(takes))
}
