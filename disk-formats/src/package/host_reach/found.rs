//! What is found in a description of a machine, and how its words are read.

use super::saying::{HostReach, Saying};
use crate::package::packaged::quoted;
use crate::package::xml_tree::Element;

/// Most of them that are kept; one more says that there are others.
pub(super) const MOST: usize = 64;
/// Most characters that are told of one.
const MOST_TOLD: usize = 240;

/// The network card that an element is in.
#[derive(Clone, Copy, Default)]
pub(super) struct Card {
    /// The number by which VBoxManage knows it.
    pub(super) number: Option<u32>,
    /// It is on, and the element is not among the networks that it does not use.
    pub(super) is_used: bool,
}

/// What is found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) reaches: Vec<HostReach>,
    /// Filters for USB devices so far, which VBoxManage counts.
    pub(super) filters: u32,
    /// The media that the package has, by the UUIDs that the machine knows them by.
    pub(super) packed: Vec<String>,
}

impl Found {
    pub(super) fn take(&mut self, what: String, said_by: Vec<Saying>) {
        self.push(what, true, said_by);
    }

    pub(super) fn see(&mut self, what: String) {
        self.push(what, false, Vec::new());
    }

    fn push(&mut self, mut what: String, takes: bool, said_by: Vec<Saying>) {
        if self.reaches.len() == MOST {
            what = "and more".to_owned();
        } else if self.reaches.len() > MOST {
            return;
        }
        if let Some((end, _)) = what.char_indices().nth(MOST_TOLD) {
            what.truncate(end);
            what.push('…');
        }
        // More than are told are refused, whatever they are, and whatever is said.
        let is_last = self.reaches.len() == MOST;
        let said_by = if is_last { Vec::new() } else { said_by };
        self.reaches.push(HostReach { what, takes: takes || is_last, said_by });
    }
}

/// An attribute that says something.
pub(super) fn said<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    element.attribute(name).filter(|value| !value.is_empty())
}

/// An attribute that is there, and no no; what VirtualBox cannot read counts.
pub(super) fn is_on(element: &Element, name: &str) -> bool {
    said(element, name).is_some_and(|value| !is_no(value))
}

/// What VirtualBox takes for a no.
pub(super) fn is_no(value: &str) -> bool {
    ["false", "no", "0"].contains(&value)
}

/// The number by which VBoxManage knows a port or a card: it counts from 1.
pub(super) fn number(element: &Element) -> Option<u32> {
    said(element, "slot")?.parse::<u32>().ok()?.checked_add(1)
}

/// Where an element is: `Machine/Hardware/UART`.
pub(super) fn path(elements: &[&Element]) -> String {
    elements.iter().map(|element| shown(&element.name)).collect::<Vec<_>>().join("/")
}

/// A name out of the document.
pub(super) fn shown(name: &str) -> String {
    quoted(name).replace('"', "")
}

/// A UUID without the braces that it has in a machine.
pub(super) fn bare(uuid: &str) -> &str {
    uuid.trim_matches(['{', '}'])
}

pub(super) fn is(value: &str, word: &str) -> bool {
    value.eq_ignore_ascii_case(word)
}

pub(super) fn text<'a>(element: &'a Element, attribute: &str) -> &'a str {
    said(element, attribute).unwrap_or_default()
}

pub(super) fn shown_number(number: Option<u32>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

pub(super) fn attributes(element: &Element) -> String {
    const MOST: usize = 4;
    let one = |(name, value): (&str, &str)| format!("{} {}", shown(name), quoted(value));
    element.attributes().take(MOST).map(one).collect::<Vec<_>>().join(", ")
}
