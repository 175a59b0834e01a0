//! Owns `define!`, which makes a component of its tables and rules.

/// Defines a component: `kind type runs, "about", [groups of options], [groups of rules]`.
macro_rules! define {
    ($name:ident = $component:ident $kind:literal $runs:literal, $about:literal, $options:expr, [$($group:expr),*], [$($rules:expr),*]) => {
        #[doc = $about]
        pub(crate) static $name: crate::options::definition::Definition = crate::options::definition::Definition {
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
