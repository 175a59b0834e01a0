//! Owns how components describe their options: [`Schema`], [`OptionSpec`], and who knows them: [`Catalog`].

/// The four kinds of component a template can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComponentType {
    /// `source "KIND" "NAME"`, in JSON an element of `builders`.
    Builder,
    /// `provisioner "KIND"` and `error-cleanup-provisioner "KIND"`.
    Provisioner,
    /// `post-processor "KIND"`.
    PostProcessor,
    /// `data "KIND" "NAME"`.
    DataSource,
}

impl ComponentType {
    /// Returns the word for people: `builder`, `provisioner`, `post-processor`, `data source`.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Provisioner => "provisioner",
            Self::PostProcessor => "post-processor",
            Self::DataSource => "data source",
        }
    }
}

/// Knows which components exist.
pub trait Catalog {
    /// Returns the options of a component, or nothing when there is no such component.
    fn schema(&self, component: ComponentType, kind: &str) -> Option<&'static Schema>;

    /// Returns the kinds that exist, for "did you mean" and for lists.
    fn kinds(&self, component: ComponentType) -> Vec<&'static str>;
}

/// All options of one component.
#[derive(Debug)]
pub struct Schema {
    /// The component's kind, such as `qemu` or `shell-local`.
    pub kind: &'static str,
    /// Its own options.
    pub options: &'static [OptionSpec],
    /// Options it shares with other components, such as those of the SSH communicator.
    pub groups: &'static [&'static [OptionSpec]],
}

impl Schema {
    /// Returns all options, own ones first. An own option hides one of the same name in a group.
    pub fn specs(&self) -> impl Iterator<Item = &'static OptionSpec> + Clone {
        let own = self.options;
        let shared = self.groups.iter().flat_map(|group| group.iter());
        own.iter().chain(shared.filter(move |spec| !own.iter().any(|mine| mine.name == spec.name)))
    }

    /// Returns the option of this name.
    #[must_use]
    pub fn spec(&self, name: &str) -> Option<&'static OptionSpec> {
        // Own ones come first here as well, so none that they hide is found; this is asked hundreds of times for a template.
        let shared = self.groups.iter().flat_map(|group| group.iter());
        self.options.iter().chain(shared).find(|spec| spec.name == name)
    }
}

/// The type of an option's value.
#[derive(Debug, Clone, Copy)]
pub enum OptionKind {
    /// Text; numbers and booleans are converted.
    String,
    /// True or false; `"true"`, `"1"` and so on are converted.
    Bool,
    /// True, false, or not set; `is_set` tells.
    Trilean,
    /// A whole number; text with a whole number is converted.
    Integer,
    /// A Go duration such as `1m30s`, always text with a unit.
    Duration,
    /// A list of texts. In JSON templates also one text, split at commas.
    Strings,
    /// A list of whole numbers.
    Integers,
    /// Texts by name, in sorted order.
    Map,
    /// A list of lists of texts, as `qemuargs`.
    StringLists,
    /// Any value, kept as JSON text; in HCL2 templates that text itself.
    Json,
    /// One nested block (in JSON templates an object).
    Block(&'static [OptionSpec]),
    /// Any number of nested blocks (in JSON templates an object or a list of objects).
    Blocks(&'static [OptionSpec]),
}

impl OptionKind {
    /// Returns the type's name for people and documentation.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Trilean => "bool (or unset)",
            Self::Integer => "number",
            Self::Duration => "duration",
            Self::Strings => "list of string",
            Self::Integers => "list of number",
            Self::Map => "map of string",
            Self::StringLists => "list of list of string",
            Self::Json => "any",
            Self::Block(_) => "block",
            Self::Blocks(_) => "blocks",
        }
    }
}

/// One option of a component: the table row that decoding, documentation and "did you mean" all read.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its name in templates.
    pub name: &'static str,
    /// Its type.
    pub kind: OptionKind,
    /// Whether leaving it out is an error.
    pub required: bool,
    /// Whether its Go-template text is left as it is, because the component renders it later with data of its own.
    pub late: bool,
    /// Whether its value is a secret.
    pub sensitive: bool,
    /// The default, as documentation writes it; empty when there is none.
    pub default: &'static str,
    /// A flag of the same component, and the default where that is set.
    pub default_where: Option<(&'static str, &'static str)>,
    /// What it does, one or more sentences.
    pub doc: &'static str,
    /// Why it should not be used any more and what to use instead.
    pub deprecated: Option<&'static str>,
}

impl OptionSpec {
    /// Returns an optional option; `default` is for the documentation and may be empty.
    #[must_use]
    pub const fn new(name: &'static str, kind: OptionKind, default: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            required: false,
            late: false,
            sensitive: false,
            default,
            default_where: None,
            doc,
            deprecated: None,
        }
    }

    /// Gives it another default where the flag `switch` is set.
    #[must_use]
    pub const fn or_where(mut self, switch: &'static str, default: &'static str) -> Self {
        self.default_where = Some((switch, default));
        self
    }

    /// Makes leaving it out an error.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Leaves its Go-template text for the component.
    #[must_use]
    pub const fn late(mut self) -> Self {
        self.late = true;
        self
    }

    /// Makes its value a secret.
    #[must_use]
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Marks it as superseded.
    #[must_use]
    pub const fn deprecated(mut self, instead: &'static str) -> Self {
        self.deprecated = Some(instead);
        self
    }
}
