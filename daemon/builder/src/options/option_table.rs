//! Owns `option_table!`, in which the tables are written.

/// Writes a table: `name Kind flags… = default, meaning;` per line; `default where "switch" is other` where another option decides.
macro_rules! option_table {
    ($($name:literal $kind:ident $(($parts:expr))? $($flag:ident)* =
        $default:literal $(where $switch:literal is $other:literal)?, $doc:literal;)*) => {
        &[$(
            kiln_template::OptionSpec::new($name, kiln_template::OptionKind::$kind $(($parts))?, $default, $doc)
                $(.$flag())* $(.or_where($switch, $other))?
        ),*]
    };
}
pub(crate) use option_table;
