//! Writes indented XML: elements, attributes and text, escaped.

use quick_xml::escape::escape;

/// A document being written.
pub(crate) struct Xml {
    text: String,
    open: Vec<String>,
}

impl Xml {
    /// Starts a document with its declaration.
    pub(crate) fn new() -> Self {
        Self { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), open: Vec::new() }
    }

    /// Starts a part of a document, to be [put](Self::part) into one.
    pub(crate) fn new_part() -> Self {
        Self { text: String::new(), open: Vec::new() }
    }

    /// Opens an element that will have children.
    pub(crate) fn open(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.start(name, attributes);
        self.text.push_str(">\n");
        self.open.push(name.to_owned());
        self
    }

    /// Closes the element opened last.
    pub(crate) fn close(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.text.push_str(&format!("</{name}>\n"));
        }
        self
    }

    /// Writes an element without children.
    pub(crate) fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.start(name, attributes);
        self.text.push_str("/>\n");
        self
    }

    /// Writes an element that holds text.
    pub(crate) fn text(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) -> &mut Self {
        self.start(name, attributes);
        self.text.push_str(&format!(">{}</{name}>\n", escape(allowed(text))));
        self
    }

    /// Puts in what was written as a part: elements that are whole.
    pub(crate) fn part(&mut self, part: &str) -> &mut Self {
        self.text.push_str(part);
        self
    }

    /// Returns the document; all elements must be closed.
    pub(crate) fn finish(self) -> String {
        debug_assert!(self.open.is_empty());
        self.text
    }

    fn start(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.indent();
        self.text.push('<');
        self.text.push_str(name);
        for (key, value) in attributes {
            // A line break as it is would be read as a blank.
            let value = escape(allowed(value)).replace('\n', "&#10;");
            self.text.push_str(&format!(" {key}=\"{value}\""));
        }
    }

    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n("  ", self.open.len()));
    }
}

/// Drops characters that XML 1.0 cannot hold at all.
fn allowed(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped() {
        let mut xml = Xml::new();
        xml.open("a", &[("k", "\"<&")]).text("b", &[], "x<y\u{1}&z").empty("c", &[]).close();
        assert_eq!(
            xml.finish(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a k=\"&quot;&lt;&amp;\">\n  <b>x&lt;y&amp;z</b>\n  <c/>\n</a>\n"
        );
    }
}
