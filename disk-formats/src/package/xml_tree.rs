//! Reads XML from outside into a tree, within limits: no document type, no entities but XML's own five.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::packaged::quoted;
use super::xml_tag::{self, Scopes, check_characters};
use crate::error::{Error, ErrorKind, Operation, Result};

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

impl Element {
    /// Returns an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns all attributes.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns the children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
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

/// Reads the bytes of a document, in the encoding that it says. One that other readers could take for another is refused: they would read another
/// document.
pub(crate) fn read_bytes(bytes: &[u8]) -> Result<Element> {
    let fail = |rule: String| Error::new(ErrorKind::Corrupt, Operation::Read, rule);
    let declared = |bytes: &[u8]| match declared_encoding(bytes) {
        Ok(None) => Ok(None),
        Ok(Some(label)) => match encoding_rs::Encoding::for_label(label.as_bytes()) {
            Some(encoding) => Ok(Some(encoding)),
            None => Err(fail(format!("the xml is in the encoding {}, which is not known", quoted(&label))).at(0)),
        },
        Err(()) => Err(fail("the xml's declaration cannot be read".to_owned()).at(0)),
    };
    let is_unicode = |encoding: &'static encoding_rs::Encoding| {
        [encoding_rs::UTF_8, encoding_rs::UTF_16LE, encoding_rs::UTF_16BE].contains(&encoding)
    };
    if let Some((encoding, _)) = encoding_rs::Encoding::for_bom(bytes) {
        let (text, _, damaged) = encoding.decode(bytes);
        let other = declared(text.as_bytes())?.filter(|declared| !is_unicode(declared));
        return if damaged || other.is_some() {
            Err(fail("the xml is not in the encoding that its first bytes say".to_owned()).at(0))
        } else {
            read(&text)
        };
    }
    // What says that it is in UTF-16, and is not, is in UTF-8 to all readers that take it.
    match declared(bytes)?.filter(|encoding| !is_unicode(encoding)) {
        Some(encoding) => {
            let decoded = encoding.decode_without_bom_handling_and_without_replacement(bytes);
            read(&decoded.ok_or_else(|| fail(format!("the xml is not in the encoding {}", encoding.name())).at(0))?)
        }
        None => match std::str::from_utf8(bytes) {
            Ok(text) => read(text),
            Err(error) => {
                let rule = "the xml is neither in utf-8 nor in an encoding that it names".to_owned();
                Err(fail(rule).at(error.valid_up_to() as u64))
            }
        },
    }
}

/// Returns the encoding in `<?xml … encoding="…"?>`; an error for a declaration that is none.
fn declared_encoding(bytes: &[u8]) -> Result<Option<String>, ()> {
    const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];
    let Some(rest) = bytes.strip_prefix(b"<?xml").filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
    else {
        return Ok(None);
    };
    let end = rest.windows(2).position(|pair| pair == b"?>").ok_or(())?;
    let mut rest = std::str::from_utf8(&rest[..end]).map_err(|_| ())?.trim_matches(BLANKS);
    let mut encoding = None;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(())?;
        let after = after.trim_start_matches(BLANKS);
        let quote = after.chars().next().filter(|quote| ['"', '\''].contains(quote)).ok_or(())?;
        let (value, after) = after[1..].split_once(quote).ok_or(())?;
        if name.trim_end_matches(BLANKS) == "encoding" && encoding.replace(value.to_owned()).is_some() {
            return Err(());
        }
        rest = after.trim_start_matches(BLANKS);
    }
    Ok(encoding)
}

/// Reads a document and returns its root.
pub(crate) fn read(text: &str) -> Result<Element> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let broken = |at: u64, rule: String| Error::new(ErrorKind::Corrupt, Operation::Read, rule).at(at);
    check_characters(text).map_err(|(at, rule)| broken(at as u64, rule))?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    // The document itself is the bottom of the stack.
    let mut open = vec![Element::default()];
    let mut scopes = Scopes::default();
    let mut elements = 0;
    loop {
        let at = reader.buffer_position();
        let fail = |rule: String| broken(at, rule);
        let event = reader.read_event().map_err(|error| fail(format!("not well-formed xml: {error}")))?;
        let outside = open.len() == 1;
        match event {
            Event::Start(tag) | Event::Empty(tag) if elements == MAX_ELEMENTS || open.len() > MAX_DEPTH => {
                let name = String::from_utf8_lossy(tag.local_name().as_ref().as_ref()).into_owned();
                return Err(fail(format!("too many or too deeply nested elements at <{name}>")));
            }
            Event::Start(_) | Event::Empty(_) if outside && !top(&mut open).children.is_empty() => {
                return Err(fail("not well-formed xml: a second root element".to_owned()));
            }
            Event::Start(tag) => {
                elements += 1;
                open.push(element(&tag, &mut scopes).map_err(fail)?);
            }
            Event::Empty(tag) => {
                elements += 1;
                let empty = element(&tag, &mut scopes).map_err(fail)?;
                scopes.leave();
                top(&mut open).children.push(empty);
            }
            Event::End(_) => {
                // The reader checks that ends match starts.
                let Some(done) = open.pop() else { break };
                scopes.leave();
                top(&mut open).children.push(done);
            }
            Event::Text(text) if outside => {
                if !text.xml10_content().trim_matches([' ', '\t', '\n', '\r']).is_empty() {
                    return Err(fail("not well-formed xml: text outside the root element".to_owned()));
                }
            }
            Event::CData(_) | Event::GeneralRef(_) if outside => {
                return Err(fail("not well-formed xml: text outside the root element".to_owned()));
            }
            Event::Text(text) => {
                let content = text.xml10_content();
                if content.contains("]]>") {
                    return Err(fail("not well-formed xml: `]]>` in a text".to_owned()));
                }
                top(&mut open).text.push_str(&content);
            }
            Event::CData(text) => top(&mut open).text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let unknown = || fail("an entity that xml does not know by itself".to_owned());
                let name = reference.xml10_content();
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(c)) => c.to_string(),
                    Ok(None) => quick_xml::escape::resolve_predefined_entity(&name).ok_or_else(unknown)?.to_owned(),
                    Err(_) => return Err(unknown()),
                };
                check_characters(&resolved).map_err(|(_, rule)| fail(rule))?;
                top(&mut open).text.push_str(&resolved);
            }
            Event::DocType(_) => return Err(fail("a document type is not allowed".to_owned())),
            Event::Decl(_) if at > 0 => {
                return Err(fail("not well-formed xml: something stands before `<?xml`".to_owned()));
            }
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

/// Reads a tag, and enters its scope.
fn element(tag: &BytesStart<'_>, scopes: &mut Scopes) -> Result<Element, String> {
    let xml_tag::Tag { name, attributes } = xml_tag::read(tag, scopes)?;
    Ok(Element { name, attributes, ..Element::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_text_are_read() {
        let root = read("<?xml version='1.0'?><o:a xmlns:o='x' k='1 &amp; 2'><b/><b>x &lt;&#65;<![CDATA[<]]></b></o:a>\n<!-- end -->\n").unwrap();
        assert_eq!((root.name.as_str(), root.attribute("k")), ("a", Some("1 & 2")));
        assert_eq!(root.all("b").count(), 2);
        assert_eq!(root.children[1].text(), "x <A<");
        assert_eq!((root.all("b").next().map(Element::text), root.text_of("b")), (Some(""), Some("")));
    }

    #[test]
    fn what_is_hostile_or_broken_is_refused() {
        let deep = "<a>".repeat(100);
        let doctype = "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>";
        for text in [
            "",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "x<a/>",
            "<a/>x",
            "\n<?xml version='1.0'?><a/>",
            "<p:a/>",
            "<a p:k='1'/>",
            "<a><b xmlns:p='x'/><p:c/></a>",
            "<a k='<'/>",
            "<a>]]></a>",
            "<a><!-- -- --></a>",
            "<a k='1' k='2'/>",
            "<1/>",
            "<a:b:c/>",
            "<a>&x;</a>",
            doctype,
            &deep,
            "hello",
            "</a>",
            "<a b></a>",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes_count_in_what_they_are_declared_on_and_below() {
        let root =
            read("<p:a xmlns:p='x' xmlns='y'><b><p:c p:k='1' xml:lang='en'/></b><q:d xmlns:q='z'/></p:a>").unwrap();
        let c = &root.children[0].children[0];
        assert_eq!((c.attribute("k"), c.attribute("lang"), root.attribute("xmlns")), (Some("1"), Some("en"), None));
    }

    #[test]
    fn other_encodings_are_read_when_they_are_named() {
        let latin = b"<?xml version='1.0' encoding='windows-1252'?><a>b\xfccher</a>";
        assert_eq!(read_bytes(latin).unwrap().text(), "b\u{fc}cher");
        let utf16: Vec<u8> =
            "\u{feff}<?xml version='1.0'?><a>\u{fc}</a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read_bytes(&utf16).unwrap().text(), "\u{fc}");
        assert_eq!(read_bytes("\u{feff}<?xml version='1.0'?><a>\u{fc}</a>".as_bytes()).unwrap().text(), "\u{fc}");
        assert_eq!(read_bytes(b"<a>\xfc</a>").unwrap_err().offset(), Some(3));
        for label in ["utf-8", "UTF8", "us-ascii", "utf-16"] {
            let text = format!("<?xml version=\"1.0\" encoding = '{label}' standalone='yes' ?><a>x</a>");
            assert_eq!(read_bytes(text.as_bytes()).unwrap().text(), "x", "{label}");
        }
        // Its bytes are UTF-8, too.
        let latin = "<?xml version='1.0' encoding='iso-8859-1'?><a>\u{fc}</a>";
        assert_eq!(read_bytes(latin.as_bytes()).unwrap().text(), "\u{c3}\u{bc}");
    }

    #[test]
    fn what_other_readers_could_decode_otherwise_is_refused() {
        let smuggled = "<a>+ADw-/Info+AD4APA-Machine/+AD4</a>";
        for declaration in [
            "<?xml version=\"1.0\" encoding=\"UTF-7\"?>",
            "<?xml version='1.0' encoding = \"UTF-7\" ?>",
            "<?xml\tversion='1.0'\nencoding='utf-7'?>",
            "\u{feff}<?xml version='1.0' encoding='UTF-7'?>",
            "\u{feff}<?xml version='1.0' encoding='windows-1252'?>",
            "<?xml version='1.0' encoding='IBM037'?>",
            "<?xml version='1.0' encoding='hz-gb-2312'?>",
            "<?xml version='1.0' encoding=UTF-7?>",
            "<?xml version='1.0' encoding='utf-8' encoding='UTF-7'?>",
            "<?xml version='1.0' encoding='UTF-7'",
        ] {
            assert!(read_bytes(format!("{declaration}{smuggled}").as_bytes()).is_err(), "{declaration}");
        }
        let utf16: Vec<u8> =
            "\u{feff}<?xml version='1.0' encoding='UTF-7'?><a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(read_bytes(&utf16).is_err());
    }
}
