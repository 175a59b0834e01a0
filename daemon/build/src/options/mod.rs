//! The option tables: for each component, every option with its type, default and meaning. Decoding, "did you mean"
//! and the documentation pages all come from these.

pub(crate) mod builders;
pub(crate) mod components;
pub(crate) mod shared;

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
