//! Options of formats (`-o`): handed to the outputs that know them, each complained about once when none does.

use kiln_disk_formats::Compression;
use kiln_protocol::FormatOption;

use super::failure::Failure;

/// Words for how hard to compress.
const COMPRESSION: [&str; 4] = ["default", "fast", "best", "auto"];

/// The options of a request.
pub(super) struct Options<'a> {
    list: Vec<Given<'a>>,
}

struct Given<'a> {
    /// The output that it is for, if for one only.
    output: Option<&'a str>,
    name: &'a str,
    value: &'a str,
    used: bool,
}

impl<'a> Options<'a> {
    pub(super) fn new(options: &'a [FormatOption]) -> Self {
        let given = |option: &'a FormatOption| match option.name.rsplit_once(':') {
            Some((output, name)) => Given { output: Some(output), name, value: &option.value, used: false },
            None => Given { output: None, name: &option.name, value: &option.value, used: false },
        };
        Self { list: options.iter().map(given).collect() }
    }

    /// Returns the value of an option for an output. One that names the output is stronger; of equals, the last counts.
    pub(super) fn take(&mut self, output: &str, name: &str) -> Option<&'a str> {
        let mut found: Option<(bool, &'a str)> = None;
        for given in self.list.iter_mut().filter(|given| given.name == name) {
            let own = given.output == Some(output);
            if own || given.output.is_none() {
                given.used = true;
                if own || found.is_none_or(|(other_own, _)| !other_own) {
                    found = Some((own, given.value));
                }
            }
        }
        found.map(|(_, value)| value)
    }

    /// Complains about the options that no output took. `known` are those that the outputs have.
    pub(super) fn unused(&self, outputs: &[&str], known: &[&str]) -> Vec<Failure> {
        let complain = |given: &Given<'_>| match given.output {
            Some(output) if !outputs.contains(&output) => Failure::unknown("the output", output, outputs),
            _ if known.is_empty() => Failure::new(format!("the option {:?} is not known", given.name))
                .hint("none of the outputs has options (`kiln convert --help` lists them)"),
            _ => Failure::unknown("the option", given.name, known),
        };
        self.list.iter().filter(|given| !given.used).map(complain).collect()
    }
}

/// Reads a word out of a list.
pub(super) fn choice<T>(name: &str, value: &str, known: &[(&str, T)]) -> Result<T, Failure>
where
    T: Copy,
{
    let found = known.iter().find(|(word, _)| word.eq_ignore_ascii_case(value)).map(|(_, meaning)| *meaning);
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    found.ok_or_else(|| Failure::unknown(&format!("the {name}"), value, &words))
}

/// Reads whether something is on, in qemu-img's words.
pub(super) fn switch(name: &str, value: &str) -> Result<bool, Failure> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "yes" | "y" | "true" => Ok(true),
        "off" | "no" | "n" | "false" => Ok(false),
        _ => Err(Failure::new(format!("{name}={value} is neither `on` nor `off`"))),
    }
}

/// Reads how hard to compress.
pub(super) fn compression(value: &str) -> Result<Compression, Failure> {
    let meanings = [Compression::Default, Compression::Fast, Compression::Best, Compression::Auto];
    let known: Vec<_> = COMPRESSION.into_iter().zip(meanings).collect();
    choice("compression", value, &known)
}

/// Reads a size in bytes, with qemu-img's suffixes: powers of 1024.
pub(super) fn size(name: &str, value: &str) -> Result<u64, Failure> {
    let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match value[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(10),
        "m" | "mb" | "mib" => Some(20),
        "g" | "gb" | "gib" => Some(30),
        _ => None,
    };
    let bytes = shift.and_then(|shift| digits.parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes.ok_or_else(|| Failure::new(format!("{name}={value} is not a size")).hint("as `65536`, `64k` or `2M`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[(&str, &str)]) -> Vec<FormatOption> {
        words
            .iter()
            .map(|(name, value)| FormatOption { name: (*name).to_owned(), value: (*value).to_owned() })
            .collect()
    }

    #[test]
    fn an_option_for_one_output_is_stronger_than_one_for_all() {
        let given = options(&[
            ("a.vmdk:subformat", "own"),
            ("subformat", "all"),
            ("subformatt", "x"),
            ("z.vmdk:subformat", "y"),
        ]);
        let mut options = Options::new(&given);
        assert_eq!(options.take("a.vmdk", "subformat"), Some("own"));
        assert_eq!(options.take("b.vmdk", "subformat"), Some("all"));
        assert_eq!(options.take("b.vmdk", "adapter_type"), None);
        let complaints = options.unused(&["a.vmdk", "b.vmdk"], &["subformat", "adapter_type"]);
        assert_eq!(complaints.len(), 2);
        assert_eq!(complaints[0].hint.as_deref(), Some("did you mean \"subformat\"?"));
        assert!(complaints[1].text.contains("z.vmdk"), "{complaints:?}");
    }

    #[test]
    fn sizes_are_qemus() {
        assert_eq!(size("cluster_size", "64k").unwrap(), 65536);
        assert_eq!(size("cluster_size", "2M").unwrap(), 2 << 20);
        assert_eq!(size("cluster_size", "512").unwrap(), 512);
        for wrong in ["", "k", "-1", "1.5k", "64q", "99999999999999999999", "99999999999G", "ä"] {
            assert!(size("cluster_size", wrong).is_err(), "{wrong}");
        }
    }
}
