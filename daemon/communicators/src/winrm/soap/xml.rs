//! Reads an answer into a small tree. It is hostile input: size, depth and number of elements are bounded, and there are no document types
//! and no entities but XML's own.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Elements inside each other.
const MAX_DEPTH: usize = 32;

/// Elements in all. A full envelope of short pieces of output has some thousands.
const MAX_ELEMENTS: usize = 50_000;

/// Attributes of one element.
const MAX_ATTRIBUTES: usize = 32;

/// An element; names are without their prefixes, for nothing that is looked for has one name in two namespaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) children: Vec<Self>,
}

impl Element {
    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first element of this name, this one included, in the order of the text.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// The text without the blanks around it.
    pub(crate) fn trimmed(&self) -> &str {
        self.text.trim()
    }
}

/// Reads a document; the error says what is wrong with it, without any of its text.
pub(crate) fn read(bytes: &[u8]) -> Result<Element, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not in UTF-8")?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    // The document itself is the bottom of the stack.
    let mut open = vec![Element::default()];
    let mut elements = 0;
    loop {
        let event = reader.read_event().map_err(|_| "it is not well-formed")?;
        match event {
            Event::Start(tag) => {
                elements += 1;
                if elements > MAX_ELEMENTS || open.len() > MAX_DEPTH {
                    return Err("it has too many or too deeply nested elements");
                }
                open.push(element(&tag)?);
            }
            Event::Empty(tag) => {
                elements += 1;
                if elements > MAX_ELEMENTS {
                    return Err("it has too many elements");
                }
                let element = element(&tag)?;
                open.last_mut().ok_or("it is not well-formed")?.children.push(element);
            }
            Event::End(_) => {
                let done = open.pop().ok_or("it is not well-formed")?;
                open.last_mut().ok_or("it is not well-formed")?.children.push(done);
            }
            Event::Text(text) => top(&mut open)?.push_str(&text.xml10_content()),
            Event::CData(text) => top(&mut open)?.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content();
                let unknown = "it has an entity that XML does not know by itself";
                match reference.resolve_char_ref() {
                    Ok(Some(letter)) => top(&mut open)?.push(letter),
                    Ok(None) => {
                        top(&mut open)?.push_str(quick_xml::escape::resolve_predefined_entity(&name).ok_or(unknown)?);
                    }
                    Err(_) => return Err(unknown),
                }
            }
            Event::DocType(_) => return Err("it has a document type"),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    let document = open.pop().filter(|_| open.is_empty()).ok_or("it ends early")?;
    document.children.into_iter().next().ok_or("it is empty")
}

fn top(open: &mut [Element]) -> Result<&mut String, &'static str> {
    open.last_mut().map(|element| &mut element.text).ok_or("it is not well-formed")
}

fn element(tag: &BytesStart<'_>) -> Result<Element, &'static str> {
    let name = String::from_utf8_lossy(tag.local_name().as_ref().as_ref()).into_owned();
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| "it has a broken attribute")?;
        if attributes.len() == MAX_ATTRIBUTES {
            return Err("it has too many attributes");
        }
        let name = String::from_utf8_lossy(attribute.key.local_name().as_ref().as_ref()).into_owned();
        let value =
            attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|_| "it has a broken attribute")?;
        attributes.push((name, value.into_owned()));
    }
    Ok(Element { name, attributes, text: String::new(), children: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_a_tree_without_prefixes() {
        let root =
            read(b"<?xml version='1.0'?><s:A xmlns:s='u'><s:B Name=\"x&amp;y\"> 1&lt;&#50; </s:B><C/></s:A>").unwrap();
        assert_eq!((root.name.as_str(), root.children.len()), ("A", 2));
        let b = root.find("B").unwrap();
        assert_eq!((b.trimmed(), b.attribute("Name")), ("1<2", Some("x&y")));
        assert!(root.find("D").is_none());
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        let many = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS));
        let attributes: String = (0..40).map(|at| format!(" a{at}='x'")).collect();
        let attributes = format!("<a{attributes}/>");
        for text in [
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            "<a>&x;</a>",
            "<a b='&x;'/>",
            "<a><b></a>",
            "<a>",
            "</a>",
            "",
            "plain",
            &deep,
            &many,
            &attributes,
        ] {
            assert!(read(text.as_bytes()).is_err(), "{:.60}", text);
        }
        assert!(read(b"<a>\xff</a>").is_err());
    }
}
