//! Reads XML from outside into a tree, within limits: no document type, no entities but XML's own five.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

use crate::{Error, ErrorKind, Operation, Result};

/// Deepest nesting; an OVF has some ten levels.
const MAX_DEPTH: usize = 64;
/// Most elements; a description of a machine has some hundreds.
const MAX_ELEMENTS: usize = 100_000;

/// An element. Names are local: without their prefixes, which vary from writer to writer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Self>,
    text: String,
}

#[cfg_attr(not(test), expect(dead_code, reason = "for reading a whole description"))]
impl Element {
    /// Returns an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Returns the first child of this name.
    pub(crate) fn child<'a>(&'a self, name: &'a str) -> Option<&'a Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Returns the text inside, without blanks at its ends.
    pub(crate) fn text(&self) -> &str {
        self.text.trim()
    }

    /// Returns the text of the first child of this name.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(Self::text)
    }
}

/// Reads a document and returns its root.
pub(crate) fn read(text: &str) -> Result<Element> {
    let mut reader = Reader::from_str(text);
    // The document itself is the bottom of the stack.
    let mut open = vec![Element::default()];
    let mut elements = 0;
    loop {
        let at = reader.buffer_position();
        let fail = |rule: String| Error::new(ErrorKind::Corrupt, Operation::Read, rule).at(at);
        let event = reader.read_event().map_err(|error| fail(format!("not well-formed xml: {error}")))?;
        match event {
            Event::Start(tag) | Event::Empty(tag) if elements == MAX_ELEMENTS || open.len() > MAX_DEPTH => {
                let name = String::from_utf8_lossy(tag.local_name().as_ref().as_ref()).into_owned();
                return Err(fail(format!("too many or too deeply nested elements at <{name}>")));
            }
            Event::Start(tag) => {
                elements += 1;
                open.push(element(&tag).map_err(fail)?);
            }
            Event::Empty(tag) => {
                elements += 1;
                let empty = element(&tag).map_err(fail)?;
                top(&mut open).children.push(empty);
            }
            Event::End(_) => {
                // The reader checks that ends match starts.
                let Some(done) = open.pop() else { break };
                top(&mut open).children.push(done);
            }
            Event::Text(text) => top(&mut open).text.push_str(&text.xml10_content()),
            Event::CData(text) => top(&mut open).text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let unknown = || fail("an entity that xml does not know by itself".to_owned());
                let name = reference.xml10_content();
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(c)) => c.to_string(),
                    Ok(None) => quick_xml::escape::resolve_predefined_entity(&name).ok_or_else(unknown)?.to_owned(),
                    Err(_) => return Err(unknown()),
                };
                top(&mut open).text.push_str(&resolved);
            }
            Event::DocType(_) => return Err(fail("a document type is not allowed".to_owned())),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match (open.len(), open.pop().and_then(|mut document| document.children.pop())) {
        (1, Some(root)) => Ok(root),
        _ => Err(Error::new(ErrorKind::Truncated, Operation::Read, "the xml ends before its root element does")),
    }
}

fn top(open: &mut Vec<Element>) -> &mut Element {
    if open.is_empty() {
        open.push(Element::default());
    }
    let last = open.len() - 1;
    &mut open[last]
}

fn element(tag: &BytesStart<'_>) -> Result<Element, String> {
    let local = |name: &str| name.rsplit_once(':').map_or(name, |(_, local)| local).to_owned();
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| format!("not well-formed xml: {error}"))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| format!("not well-formed xml: {error}"))?;
        attributes.push((local(attribute.key.as_ref()), value.into_owned()));
    }
    Ok(Element { name: local(tag.name().as_ref()), attributes, ..Element::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_text_are_read() {
        let root = read("<?xml version='1.0'?><o:a k='1 &amp; 2'><b/><b>x &lt;&#65;<![CDATA[<]]></b></o:a>").unwrap();
        assert_eq!((root.name.as_str(), root.attribute("k")), ("a", Some("1 & 2")));
        assert_eq!(root.all("b").count(), 2);
        assert_eq!(root.children[1].text(), "x <A<");
        assert_eq!((root.child("b").map(Element::text), root.text_of("b")), (Some(""), Some("")));
    }

    #[test]
    fn what_is_hostile_or_broken_is_refused() {
        let deep = "<a>".repeat(100);
        let doctype = "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>";
        for text in ["", "<a>", "<a></b>", "<a>&x;</a>", doctype, &deep, "hello", "</a>", "<a b></a>"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
