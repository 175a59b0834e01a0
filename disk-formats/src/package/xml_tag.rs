//! A tag of XML from outside: names, attributes, and the prefixes that count in it (Namespaces in XML 1.0).

use std::collections::HashSet;

use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;

/// Most attributes of a tag, and most prefixes that count at one place; an OVF has some ten.
const MAX_NAMES: usize = 256;
/// What `xml:` stands for without being declared.
const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// What no prefix may stand for.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// A tag's local name and its attributes, those that declare prefixes left out.
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
}

/// The prefixes that the open elements declare, with what they stand for.
#[derive(Default)]
pub(crate) struct Scopes {
    prefixes: Vec<(String, String)>,
    /// How many there were before each open element.
    before: Vec<usize>,
}

impl Scopes {
    fn enter(&mut self, prefixes: Vec<(String, String)>) -> Result<(), String> {
        self.before.push(self.prefixes.len());
        self.prefixes.extend(prefixes);
        if self.prefixes.len() > MAX_NAMES {
            return Err(format!("more than {MAX_NAMES} prefixes are declared at one place"));
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.prefixes.truncate(self.before.pop().unwrap_or_default());
    }

    /// Returns what the name's prefix stands for, nothing for a name without one, and the name behind it.
    fn resolve<'a>(&'a self, name: &'a str) -> Result<(&'a str, &'a str), String> {
        let Some((prefix, local)) = name.split_once(':') else { return Ok(("", name)) };
        let declared = self.prefixes.iter().rev().find(|(known, _)| known == prefix);
        match declared {
            Some((_, namespace)) => Ok((namespace, local)),
            None if prefix == "xml" => Ok((XML, local)),
            None => Err(format!("not well-formed xml: the prefix of `{name}` is not declared (xmlns:{prefix})")),
        }
    }
}

/// Reads a tag, and enters its scope.
pub(crate) fn read(tag: &BytesStart<'_>, scopes: &mut Scopes) -> Result<Tag, String> {
    check_blanks(tag.attributes_raw())?;
    let (mut found, mut declared) = (Vec::new(), Vec::new());
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| format!("not well-formed xml: {error}"))?;
        if found.len() + declared.len() == MAX_NAMES {
            return Err(format!("a tag with more than {MAX_NAMES} attributes"));
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| format!("not well-formed xml: {error}"))?;
        let name = attribute.key.as_ref();
        check_name(name)?;
        if attribute.value.contains('<') {
            return Err(format!("not well-formed xml: `<` in the value of `{name}`"));
        }
        check_characters(&value).map_err(|(_, rule)| rule)?;
        match name.strip_prefix("xmlns") {
            Some("") => check_declaration("", &value)?,
            Some(prefix) if prefix.starts_with(':') => {
                check_declaration(&prefix[1..], &value)?;
                declared.push((prefix[1..].to_owned(), value.into_owned()));
            }
            _ => found.push((name.to_owned(), value.into_owned())),
        }
    }
    scopes.enter(declared)?;
    let tag_name = tag.name();
    check_name(tag_name.as_ref())?;
    let name = scopes.resolve(tag_name.as_ref())?.1.to_owned();
    let (mut seen, mut attributes) = (HashSet::new(), Vec::new());
    for (full, value) in &found {
        let (namespace, local) = scopes.resolve(full)?;
        if !seen.insert((namespace, local)) {
            return Err(format!("not well-formed xml: the attribute `{full}` is there twice, by two prefixes"));
        }
        attributes.push((local.to_owned(), value.clone()));
    }
    Ok(Tag { name, attributes })
}

/// Checks that every character is one of XML 1.0 (2.2); fails with the offset of one that is not.
pub(crate) fn check_characters(text: &str) -> Result<(), (usize, String)> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        None => Ok(()),
        Some((at, c)) => Err((at, format!("not well-formed xml: the character U+{:04X} is not allowed", u32::from(c)))),
    }
}

/// Checks that a blank stands before each attribute, which the reader does not ask for.
fn check_blanks(attributes: &str) -> Result<(), String> {
    let mut quote = None;
    let mut closed = false;
    for c in attributes.chars() {
        let blank = matches!(c, ' ' | '\t' | '\n' | '\r');
        if closed && !blank {
            return Err("not well-formed xml: no blank between two attributes".to_owned());
        }
        closed = quote == Some(c);
        quote = match quote {
            Some(open) => (open != c).then_some(open),
            None => matches!(c, '"' | '\'').then_some(c),
        };
    }
    Ok(())
}

/// Checks a name with or without a prefix (XML 1.0, 2.3; Namespaces in XML 1.0, 4).
fn check_name(name: &str) -> Result<(), String> {
    let is_part =
        |part: &str| part.starts_with(begins_name) && part.chars().all(|c| begins_name(c) || continues_name(c));
    if name.matches(':').count() > 1 || !name.split(':').all(is_part) {
        return Err(format!("not well-formed xml: {name:?} is not a name"));
    }
    Ok(())
}

fn begins_name(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}' | '\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn continues_name(c: char) -> bool {
    matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}' | '\u{2040}')
}

/// Checks what a prefix, or none, is declared to stand for (Namespaces in XML 1.0, 3).
fn check_declaration(prefix: &str, namespace: &str) -> Result<(), String> {
    let wrong = match (prefix, namespace) {
        ("xmlns", _) | (_, XMLNS) => true,
        ("xml", _) | (_, XML) => (prefix, namespace) != ("xml", XML),
        ("", _) => false,
        (_, "") => return Err(format!("not well-formed xml: the prefix `{prefix}` is declared as nothing")),
        _ => false,
    };
    if wrong {
        return Err(format!("not well-formed xml: `{prefix}` may not be declared as {namespace:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::xml_tree;

    #[track_caller]
    fn is_refused(text: &str, words: &str) {
        let error = xml_tree::read(text).expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }

    #[test]
    fn characters_that_xml_has_not_are_refused_wherever_they_stand() {
        for text in [
            "<a>\u{1}</a>",
            "<a k='\u{1}'/>",
            "<a><!--\u{1}--></a>",
            "<a><![CDATA[\u{1}]]></a>",
            "<a>&#1;</a>",
            "<a k='&#x1;'/>",
        ] {
            is_refused(text, "U+0001");
        }
        is_refused("<a>\u{ffff}</a>", "U+FFFF");
        assert_eq!(xml_tree::read("<a>bc\0</a>").unwrap_err().offset(), Some(5));
        let root = xml_tree::read("<a k='&#10;'>\t\r\n&#9;\u{7f}\u{10ffff}</a>").unwrap();
        assert_eq!(root.text(), "\u{7f}\u{10ffff}");
    }

    #[test]
    fn attributes_have_a_blank_between_them() {
        for text in ["<a k='1'l='2'/>", "<a k=\"vm\"l=\"v\"></a>", "<a k='1' l='2'm='3'/>"] {
            is_refused(text, "no blank");
        }
        let root = xml_tree::read("<a k='\"1\"'\n\tl = \"it's='2'm\" m=''/>").unwrap();
        let values = ["k", "l", "m"].map(|name| root.attribute(name));
        assert_eq!(values, [Some("\"1\""), Some("it's='2'm"), Some("")]);
    }

    #[test]
    fn an_attribute_is_there_once_whatever_its_prefix() {
        is_refused("<a xmlns:o='x' xmlns:p='x' o:id='v' p:id='w'/>", "`p:id` is there twice");
        is_refused("<a xmlns:o='x'><b xmlns:p='x' p:id='v' o:id='w'/></a>", "`o:id` is there twice");
        // An attribute without a prefix is in no namespace, and a prefix can be declared anew.
        xml_tree::read("<a xmlns='x' xmlns:o='x' o:id='v' id='w'/>").unwrap();
        xml_tree::read("<a xmlns:o='x' xmlns:p='x'><b xmlns:p='y' o:id='v' p:id='w'/></a>").unwrap();
    }

    #[test]
    fn prefixes_stand_for_what_they_may() {
        is_refused("<a xmlns:q=''/>", "`q` is declared as nothing");
        for declared in [
            "xmlns:xmlns='x'",
            "xmlns:q='http://www.w3.org/2000/xmlns/'",
            "xmlns='http://www.w3.org/2000/xmlns/'",
            "xmlns:xml='x'",
            "xmlns:q='http://www.w3.org/XML/1998/namespace'",
        ] {
            is_refused(&format!("<a {declared}/>"), "may not be declared");
        }
        xml_tree::read("<a xmlns='x'><b xmlns='' xmlns:xml='http://www.w3.org/XML/1998/namespace'/></a>").unwrap();
    }

    #[test]
    fn names_are_those_of_xml() {
        for text in ["<a!/>", "<a\"b/>", "<a b$='1'/>", "<a :b='1'/>", "<a: />", "<a xmlns:='x'/>", "<a xmlns:1='x'/>"]
        {
            is_refused(text, "not");
        }
        xml_tree::read("<a-1.b_\u{b7} \u{fc}='1'/>").unwrap();
    }

    #[test]
    fn what_a_tag_declares_has_a_limit() {
        let many: String = (0..257).map(|number| format!(" k{number}='1'")).collect();
        is_refused(&format!("<a{many}/>"), "more than 256 attributes");
        let declare = |numbers: std::ops::Range<usize>| -> String {
            numbers.map(|number| format!(" xmlns:k{number}='x'")).collect()
        };
        let (first, second) = (declare(0..200), declare(200..257));
        is_refused(&format!("<a{first}><b{second}/></a>"), "more than 256 prefixes");
    }
}
