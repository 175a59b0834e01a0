//! Options of formats in words (`-o subformat=fixed`): handed to the outputs that know them, and each complained about once when
//! none does.

use crate::output_options::Compression;

/// The words for how hard to compress.
pub(crate) const COMPRESSION: [(&str, Compression); 4] = [
    ("default", Compression::Default),
    ("fast", Compression::Fast),
    ("best", Compression::Best),
    ("auto", Compression::Auto),
];

/// Options for some outputs, by words.
#[derive(Debug, Default)]
pub struct FormatOptions<'a> {
    list: Vec<Given<'a>>,
}

#[derive(Debug)]
struct Given<'a> {
    /// The output that it is for, if for one only.
    output: Option<&'a str>,
    name: &'a str,
    value: &'a str,
    used: bool,
}

/// Why an option was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionError {
    /// What is wrong; lower case, no full stop.
    pub text: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// The word that is not known, and those that are, for whoever finds the nearest.
    pub unknown: Option<(String, Vec<String>)>,
}

impl OptionError {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None, unknown: None }
    }

    fn hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }

    /// A word that is not one of those that are known.
    pub(crate) fn unknown<'w>(what: &str, given: &str, known: impl IntoIterator<Item = &'w str>) -> Self {
        let known = known.into_iter().map(str::to_owned).collect();
        Self { unknown: Some((given.to_owned(), known)), ..Self::new(format!("{what} {given:?} is not known")) }
    }

    /// A value that is understood, but not written.
    pub(crate) fn not_written(name: &str, value: &str, hint: &str) -> Self {
        Self::new(format!("{name}={value} is not written")).hint(hint)
    }

    /// A value that is out of what is possible.
    pub(crate) fn impossible(name: &str, value: &str, rule: &str, hint: &str) -> Self {
        Self::new(format!("{name}={value} {rule}")).hint(hint)
    }
}

impl<'a> FormatOptions<'a> {
    /// Reads options with their values; `disk.vmdk:subformat` is for the output of that name only.
    pub fn new(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let given = |(name, value): (&'a str, &'a str)| match name.rsplit_once(':') {
            Some((output, name)) => Given { output: Some(output), name, value, used: false },
            None => Given { output: None, name, value, used: false },
        };
        Self { list: options.into_iter().map(given).collect() }
    }

    /// Returns the value of an option for an output. One that names the output is stronger; of equals, the last counts.
    fn take(&mut self, output: &str, name: &str) -> Option<&'a str> {
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
    pub(crate) fn not_taken(&self, outputs: &[&str], known: &[&str]) -> Vec<OptionError> {
        let complain = |given: &Given<'_>| match given.output {
            Some(output) if !outputs.contains(&output) => {
                OptionError::unknown("the output", output, outputs.iter().copied())
            }
            _ if known.is_empty() => {
                OptionError::new(format!("the option {:?} is not known: none of the outputs has options", given.name))
            }
            _ => OptionError::unknown("the option", given.name, known.iter().copied()),
        };
        self.list.iter().filter(|given| !given.used).map(complain).collect()
    }
}

/// The options of one output, as its format reads them.
#[derive(Debug)]
pub(crate) struct OutputValues<'o, 'a> {
    pub(crate) options: &'o mut FormatOptions<'a>,
    /// What the output is called in the names of options.
    pub(crate) output: &'o str,
    /// What counts where nothing was said.
    pub(crate) presets: &'static [(&'static str, &'static str)],
}

impl<'a> OutputValues<'_, 'a> {
    /// Returns the value of an option, as it was said or preset.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a str> {
        let preset = || self.presets.iter().find(|(preset, _)| *preset == name).map(|(_, value)| *value);
        self.options.take(self.output, name).or_else(preset)
    }

    /// Reads one of some words, in any case.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        name: &str,
        what: &str,
        known: &[(&str, T)],
    ) -> Result<Option<T>, OptionError> {
        self.take(name).map(|value| choice(what, value, known)).transpose()
    }

    /// Reads how hard to compress.
    pub(crate) fn compression(&mut self) -> Result<Option<Compression>, OptionError> {
        self.choice("compression", "compression", &COMPRESSION)
    }

    /// Reads whether something is on, in qemu-img's words.
    pub(crate) fn switch(&mut self, name: &str) -> Result<Option<bool>, OptionError> {
        let read = |value: &str| match value.to_ascii_lowercase().as_str() {
            "on" | "yes" | "y" | "true" => Ok(true),
            "off" | "no" | "n" | "false" => Ok(false),
            _ => Err(OptionError::new(format!("{name}={value} is neither `on` nor `off`"))),
        };
        self.take(name).map(read).transpose()
    }

    /// Reads a size in bytes, with qemu-img's suffixes: powers of 1024.
    pub(crate) fn size(&mut self, name: &str) -> Result<Option<(u64, &'a str)>, OptionError> {
        let read = |value: &'a str| match size(value) {
            Some(bytes) => Ok((bytes, value)),
            None => Err(OptionError::new(format!("{name}={value} is not a size")).hint("as `65536`, `64k` or `2M`")),
        };
        self.take(name).map(read).transpose()
    }
}

/// Reads a word out of a list, in any case.
///
/// # Errors
/// When the list has no such word; the error has them all.
pub fn choice<T: Copy>(what: &str, value: &str, known: &[(&str, T)]) -> Result<T, OptionError> {
    let found = known.iter().find(|(word, _)| word.eq_ignore_ascii_case(value)).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| OptionError::unknown(&format!("the {what}"), value, known.iter().map(|(word, _)| *word)))
}

fn size(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match value[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl std::fmt::Display for OptionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        match (&self.hint, &self.unknown) {
            (Some(hint), _) => write!(f, " ({hint})"),
            (None, Some((_, known))) if !known.is_empty() => write!(f, " (known: {})", known.join(", ")),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for OptionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_for_one_output_is_stronger_than_one_for_all() {
        let given = [("a.vmdk:subformat", "own"), ("subformat", "all"), ("subformatt", "x"), ("z.vmdk:subformat", "y")];
        let mut options = FormatOptions::new(given);
        assert_eq!(options.take("a.vmdk", "subformat"), Some("own"));
        assert_eq!(options.take("b.vmdk", "subformat"), Some("all"));
        assert_eq!(options.take("b.vmdk", "adapter_type"), None);
        let complaints = options.not_taken(&["a.vmdk", "b.vmdk"], &["subformat", "adapter_type"]);
        assert_eq!(complaints.len(), 2);
        assert_eq!(complaints[0].unknown.as_ref().unwrap().0, "subformatt");
        assert_eq!(
            complaints[0].to_string(),
            "the option \"subformatt\" is not known (known: subformat, adapter_type)"
        );
        assert!(complaints[1].text.contains("z.vmdk"), "{complaints:?}");
        let complaints = options.not_taken(&["a.vmdk"], &[]);
        assert_eq!(complaints[0].text, "the option \"subformatt\" is not known: none of the outputs has options");
    }

    #[test]
    fn of_equals_the_last_counts() {
        let given = [("a:x", "own 1"), ("x", "all 1"), ("a:x", "own 2"), ("x", "all 2")];
        let mut options = FormatOptions::new(given);
        assert_eq!((options.take("a", "x"), options.take("b", "x")), (Some("own 2"), Some("all 2")));
        assert!(options.not_taken(&["a"], &[]).is_empty());
    }

    #[test]
    fn switches_are_qemus() {
        let switch = |value| {
            let mut options = FormatOptions::new([("force_size", value)]);
            OutputValues { options: &mut options, output: "x", presets: &[] }.switch("force_size")
        };
        for (values, meaning) in [(["on", "yes", "y", "TRUE"], true), (["off", "no", "n", "False"], false)] {
            assert!(values.iter().all(|value| switch(value) == Ok(Some(meaning))), "{values:?}");
        }
        assert!(switch("").is_err() && switch("1").is_err());
    }

    #[test]
    fn what_was_said_is_stronger_than_a_preset() {
        let mut options = FormatOptions::new([("subformat", "said")]);
        let presets: &[(&str, &str)] = &[("subformat", "preset"), ("compression", "best")];
        let mut values = OutputValues { options: &mut options, output: "vmdk", presets };
        assert_eq!(values.take("subformat"), Some("said"));
        assert_eq!(values.compression(), Ok(Some(Compression::Best)));
        assert_eq!(values.take("hwversion"), None);
    }

    #[test]
    fn sizes_are_qemus() {
        assert_eq!((size("64k"), size("2M"), size("512")), (Some(65536), Some(2 << 20), Some(512)));
        for wrong in ["", "k", "-1", "1.5k", "64q", "99999999999999999999", "99999999999G", "ä"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
