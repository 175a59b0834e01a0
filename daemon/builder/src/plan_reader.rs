//! Reads a component's options for the rules about them, and collects every complaint with its place.

use std::collections::{BTreeMap, BTreeSet};

use kiln_template::{Diagnostic, Diagnostics, Generated, Options, Schema, go_template};

use crate::generated::BUILD_NAMES;
use crate::option_values::OptionValues;

/// Quotes a text, or of a long one what is around an offset.
pub(crate) fn quote(text: &str, offset: usize) -> String {
    const BEFORE: usize = 30;
    const LENGTH: usize = 80;
    if text.len() <= LENGTH {
        return format!("{text:?}");
    }
    let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let start = boundary(offset.saturating_sub(BEFORE));
    let end = boundary(start + LENGTH);
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < text.len() { "…" } else { "" });
    format!("{before}{:?}{after}", &text[start..end])
}

/// One component's options as the template sets them, and the complaints about them. What acts in the end, defaults among it,
/// are [`OptionValues`].
pub(crate) struct PlanReader<'a> {
    pub(crate) options: &'a Options,
    pub(crate) schema: &'static Schema,
    pub(crate) diagnostics: &'a mut Diagnostics,
    /// The label of the source that the component is, or belongs to.
    pub(crate) source_name: String,
    /// What is in the way is replaced (`-force`).
    pub(crate) force: bool,
    /// The template mentions the temporary SSH key somewhere.
    pub(crate) mentions_key: bool,
    /// What the plan is for.
    pub(crate) purpose: Purpose,
    /// What Go templates that are rendered later refer to, with values that stand for the build's.
    pub(crate) late: go_template::Context,
}

/// What a template is planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be told whether it is right.
    Validate,
    /// To be built now.
    Build,
    /// To go on where another process has left its build.
    Resume,
}

/// Whether templates can refer to `field` in every build.
fn every_build_has(field: &str) -> bool {
    Generated::NAMES.contains(&field) || BUILD_NAMES.contains(&field)
}

impl<'a> PlanReader<'a> {
    /// What acts.
    pub(crate) fn values(&self) -> OptionValues<'a> {
        OptionValues::new(self.options, self.schema)
    }

    /// Complains about option `name`.
    pub(crate) fn error(&mut self, name: &str, summary: impl Into<String>, detail: impl Into<String>) {
        self.error_with_hint(name, summary, detail, None::<String>);
    }

    /// Complains about option `name`, saying what to do next.
    pub(crate) fn error_with_hint(
        &mut self,
        name: &str,
        summary: impl Into<String>,
        detail: impl Into<String>,
        hint: Option<impl Into<String>>,
    ) {
        // Its value is wrong, and that has been said.
        if self.options.is_unusable(name) {
            return;
        }
        let mut diagnostic = Diagnostic::error(summary, detail);
        diagnostic.subject = Some(self.options.span_of(name));
        diagnostic.hint = hint.map(Into::into);
        self.diagnostics.push(diagnostic);
    }

    /// Says that this machine lacks something that option `name` needs: no reason to call a template wrong, for it may be
    /// built elsewhere or later, but one not to build it here and now.
    pub(crate) fn not_here(&mut self, name: &str, summary: &str, detail: impl Into<String>, hint: Option<String>) {
        match self.purpose {
            Purpose::Build | Purpose::Resume => self.error_with_hint(name, summary, detail, hint),
            Purpose::Validate => {
                let mut diagnostic = Diagnostic::warning(summary, detail);
                diagnostic.subject = Some(self.options.span_of(name));
                diagnostic.hint = hint;
                self.diagnostics.push(diagnostic);
            }
        }
    }

    /// Complains about the element `index` of option `name`.
    pub(crate) fn error_in(&mut self, name: &str, index: usize, summary: impl Into<String>, detail: impl Into<String>) {
        if !self.options.is_unusable(name) {
            let diagnostic = Diagnostic::error(summary, detail).at(self.options.span_of_item(name, index));
            self.diagnostics.push(diagnostic);
        }
    }

    /// Warns about the element `index` of option `name`.
    pub(crate) fn warning_in(&mut self, name: &str, index: usize, summary: &str, detail: String, hint: String) {
        if !self.options.is_unusable(name) {
            let mut diagnostic = Diagnostic::warning(summary, detail).at(self.options.span_of_item(name, index));
            diagnostic.hint = Some(hint);
            self.diagnostics.push(diagnostic);
        }
    }

    /// Complains about the Go templates in `texts`, which are rendered only when the build runs: what cannot be parsed, what
    /// fails whatever the build's values are, and fields that are not among `known` or the values every build has. Without
    /// any `known`, the data is nothing at all in Packer, where every field reads `<no value>`.
    pub(crate) fn check_late<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>, known: &[&str]) {
        for (index, text) in texts.into_iter().enumerate() {
            for (summary, detail, _) in self.late_problems(text, known) {
                self.error_in(name, index, summary, detail);
            }
            if known.is_empty() && text.contains("{{") {
                self.warn_of_fields(name, index, text);
            }
        }
    }

    /// Says which fields of a text read `<no value>`, where there are none but those that every build has.
    fn warn_of_fields(&mut self, name: &str, index: usize, text: &str) {
        let fields: BTreeSet<String> = go_template::fields(text).into_iter().collect();
        for field in fields.iter().filter(|field| !every_build_has(field)) {
            let quoted = quote(text, text.find(&format!(".{field}")).unwrap_or(0));
            let detail = format!("{quoted} is a template; {{{{ .{field} }}}} in it becomes \"<no value>\".");
            let hint = "for a command that is to see the braces, write {{ `{{ .Field }}` }}".to_owned();
            self.warning_in(name, index, "Template field without a value", detail, hint);
        }
    }

    /// Returns summary, detail and offset of what is wrong with a Go template that is rendered later.
    pub(crate) fn late_problems(&self, text: &str, known: &[&str]) -> Vec<(&'static str, String, usize)> {
        if let Some(error) = self.late_error(text) {
            let detail = format!("{} cannot be rendered: {error}.", quote(text, error.offset));
            return vec![("Invalid template", detail, error.offset)];
        }
        let mut problems = Vec::new();
        for field in go_template::fields(text) {
            let field = field.as_str();
            if known.is_empty() || known.contains(&field) || every_build_has(field) {
                continue;
            }
            let offset = text.find(&format!(".{field}")).unwrap_or(0);
            let quoted = quote(text, offset);
            let detail = format!("{quoted} refers to {{{{ .{field} }}}}. There are: {}.", known.join(", "));
            problems.push(("Unknown template field", detail, offset));
        }
        problems
    }

    /// Renders a text with values that stand for the build's, as Packer does when it prepares a build. A failure that may
    /// be owed to these values is none.
    fn late_error(&self, text: &str) -> Option<go_template::RenderError> {
        const WHATEVER_THE_VALUES: &[&str] = &[
            "error calling env",
            "error calling sed",
            "error calling build:",
            "error calling consul_key",
            "error calling vault",
            "error calling aws_",
            "wrong number of args",
            "template ",
        ];
        if !text.contains("{{") {
            return None;
        }
        if let Err(error) = go_template::check(text) {
            return Some(error);
        }
        let mut context = self.late.clone();
        let fields = go_template::fields(text);
        let has_values = !fields.is_empty() || text.contains("build");
        context.fields.extend(fields.into_iter().map(|field| (field, Generated::UNKNOWN.into())));
        context.build.extend(BUILD_NAMES.map(|name| (name.to_owned(), Generated::UNKNOWN.to_owned())));
        let error = go_template::render(text, &context).err()?;
        let certain = WHATEVER_THE_VALUES.iter().any(|start| error.message.starts_with(start));
        (certain || !has_values).then_some(error)
    }

    /// Warns about option `name`.
    pub(crate) fn warning(&mut self, name: &str, summary: impl Into<String>, detail: impl Into<String>) {
        let mut diagnostic = Diagnostic::warning(summary, detail);
        diagnostic.subject = Some(self.options.span_of(name));
        self.diagnostics.push(diagnostic);
    }

    /// Tells of an option that the template sets and nothing heeds.
    pub(crate) fn without_effect(&mut self, name: &str, why: &str) {
        if self.options.is_set(name) {
            self.warning(name, format!("{name} has no effect"), why);
        }
    }

    /// A text that is set and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.options.string(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A flag; unset is false.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.options.bool(name).unwrap_or(false)
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.options.strings(name).to_vec()
    }

    /// A map of texts.
    pub(crate) fn map(&self, name: &str) -> BTreeMap<String, String> {
        self.options.map(name).iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Complains about a number outside of `range`, unless it is unset or zero.
    pub(crate) fn range(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) {
        let Some(value) = self.options.integer(name).filter(|&value| value != 0) else { return };
        if u64::try_from(value).is_ok_and(|value| range.contains(&value)) {
            return;
        }
        // A rule with a narrower range may have said so.
        let place = Some(self.options.span_of(name));
        if !self.diagnostics.iter().any(|told| told.subject == place && told.summary == "Value out of range") {
            let detail = format!("{name} is {value}, but must be between {} and {}.", range.start(), range.end());
            self.error(name, "Value out of range", detail);
        }
    }

    /// Complains about a pair of numbers that are no ports, or of which the first is above the second.
    pub(crate) fn port_range(&mut self, min: &str, max: &str) {
        for name in [min, max] {
            self.range(name, 1..=u64::from(u16::MAX));
        }
        let (low, high) = self.values().ports(min, max);
        if low > high && high != 0 {
            self.error(min, "Empty port range", format!("{min} is {low}, above {max}, which is {high}."));
        }
    }

    /// Complains unless the option is unset, not known yet, or one of `allowed`.
    pub(crate) fn one_of(&mut self, name: &str, allowed: &[&str]) {
        let Some(value) = self.text(name).filter(|value| value != Generated::UNKNOWN) else { return };
        if !allowed.contains(&value.as_str()) {
            let detail = format!("{name} is {value:?}, but must be one of {}.", allowed.join(", "));
            self.error(name, "Unsupported value", detail);
        }
    }
}
