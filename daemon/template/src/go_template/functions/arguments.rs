//! Owns [`Arguments`]: what a function is called with, and the complaints about their number and types.

use crate::go_template::printf;
use crate::go_template::value::Value;

/// What a function gives, or why it fails.
pub(super) type Answer = Result<Value, String>;

/// The arguments of a call.
pub(super) struct Arguments<'a> {
    /// The function's name.
    pub(super) name: &'a str,
    pub(super) values: &'a [Value],
}

impl Arguments<'_> {
    /// Complains unless there are so many.
    pub(super) fn count(&self, least: usize, most: usize) -> Result<(), String> {
        let got = self.values.len();
        if (least..=most).contains(&got) {
            return Ok(());
        }
        let want = if least == most { least.to_string() } else { format!("at least {least}") };
        Err(format!("wrong number of args for {}: want {want} got {got}", self.name))
    }

    /// Returns the only argument.
    pub(super) fn only(&self) -> Result<&Value, String> {
        self.count(1, 1)?;
        self.get(0)
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, String> {
        match self.get(index)? {
            Value::String(text) => Ok(text),
            other => Err(format!(
                "wrong type for argument {} of {}: expected string; found {}",
                index + 1,
                self.name,
                printf::shown(other)
            )),
        }
    }

    pub(super) fn integer(&self, index: usize) -> Result<i64, String> {
        match self.get(index)? {
            Value::Integer(number) => Ok(*number),
            other => Err(format!("expected integer; found {}", printf::shown(other))),
        }
    }

    fn get(&self, index: usize) -> Result<&Value, String> {
        let missing =
            || format!("wrong number of args for {}: want {} got {}", self.name, index + 1, self.values.len());
        self.values.get(index).ok_or_else(missing)
    }
}
