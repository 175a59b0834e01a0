//! EC2's answers: XML, of which one element is looked for.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// The text of the first element called `name`; nothing where the XML has none or is broken before its end.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    next(&mut Reader::from_str(xml), name)
}

/// The texts of all elements called `name`, as far as the XML is whole; each once.
pub(super) fn elements(xml: &str, name: &str) -> Vec<String> {
    let mut reader = Reader::from_str(xml);
    let mut found: Vec<String> = Vec::new();
    while let Some(text) = next(&mut reader, name) {
        if !text.is_empty() && !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

fn next(reader: &mut Reader<&[u8]>, name: &str) -> Option<String> {
    let mut text: Option<String> = None;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if String::from_utf8_lossy(start.local_name().as_ref().as_ref()) == name => {
                text = Some(String::new());
            }
            Event::End(end) if String::from_utf8_lossy(end.local_name().as_ref().as_ref()) == name => return text,
            Event::Text(part) => {
                if let Some(text) = &mut text {
                    text.push_str(&part.xml10_content());
                }
            }
            Event::GeneralRef(entity) => {
                if let Some(text) = &mut text {
                    let known = resolve_predefined_entity(&entity.xml10_content()).map(str::to_owned);
                    text.push_str(&known.or_else(|| entity.resolve_char_ref().ok().flatten().map(String::from))?);
                }
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_xml() {
        let xml = "<?xml version='1.0'?><R xmlns='x'><a/><set><item><status>pen&amp;ding&#33;</status></item></set><status>2</status></R>";
        assert_eq!(element(xml, "status").as_deref(), Some("pen&ding!"));
        assert_eq!(element(xml, "none"), None);
        assert_eq!(elements(xml, "status"), ["pen&ding!", "2"]);
        assert_eq!(elements("<a><b>1</b><b>1</b><b/><b>2", "b"), ["1"]);
        assert_eq!(element("<a><status>x", "status"), None);
        assert_eq!(element("<<<", "a"), None);
    }
}
