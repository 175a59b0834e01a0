//! The option tables: for each component, every option with its type, default and meaning, and the rules between them.
//! Decoding, checking, "did you mean" and the documentation pages all come from these.

pub(crate) mod ansible;
pub(crate) mod builders;
pub(crate) mod chef;
pub(crate) mod components;
mod definition;
mod page;
pub(crate) mod post_processors;
pub(crate) mod puppet;
pub(crate) mod rule;
pub(crate) mod scripts;
pub(crate) mod shared;
pub(crate) mod upload;
pub(crate) mod vagrant;
pub(crate) mod virtualbox;
pub(crate) mod vmware;
pub(crate) mod windows;

pub(crate) use definition::Definition;
pub use page::component_pages;

/// Writes a table: `name Kind flags… = default, meaning;` per line.
macro_rules! option_table {
    ($($name:literal $kind:ident $(($parts:expr))? $($flag:ident)* = $default:literal, $doc:literal;)*) => {
        &[$(
            kiln_template::OptionSpec::new($name, kiln_template::OptionKind::$kind $(($parts))?, $default, $doc)
                $(.$flag())*
        ),*]
    };
}
pub(crate) use option_table;

/// Defines a component: `kind type runs, "about", [groups of options], [groups of rules]`.
macro_rules! define {
    ($name:ident = $component:ident $kind:literal $runs:literal, $about:literal, $options:expr, [$($group:expr),*], [$($rules:expr),*]) => {
        #[doc = $about]
        pub(crate) static $name: crate::options::Definition = crate::options::Definition {
            component: kiln_template::ComponentType::$component,
            schema: kiln_template::Schema {
                kind: $kind,
                options: $options,
                groups: &[$($group,)* crate::options::shared::INTERNAL],
            },
            rules: &[$($rules),*],
            about: $about,
            runs: $runs,
        };
    };
}
pub(crate) use define;
