//! The terminal: what it is and wants, and the outputs that lead to it. Nothing else in the client writes to them.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, StderrLock, Stdout, StdoutLock, Write};

use serde::Serialize;

use crate::error::CommandError;
use crate::visible::{self, Rules, Visible};

/// Names of environment variables.
mod environment {
    /// Any value but an empty one: no colours (no-color.org).
    pub(super) const NO_COLOR: &str = "NO_COLOR";
    /// The same, in Packer's words; not even with `-color=true`.
    pub(super) const PACKER_NO_COLOR: &str = "PACKER_NO_COLOR";
    /// Kind of the terminal.
    pub(super) const TERM: &str = "TERM";
    /// Any value but an empty one: nobody sits there, whatever the outputs look like.
    pub(super) const CI: &str = "CI";
    /// What says where windows are shown.
    pub(super) const DISPLAYS: [&str; 2] = ["WAYLAND_DISPLAY", "DISPLAY"];
    /// What says how texts are encoded; the first that is set counts.
    pub(super) const LOCALE: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];
}

/// Returns a variable of the environment; the one place of the client that reads them by name.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty())
}

/// Whether colours are refused: by a flag, by the environment, or by a terminal that cannot show them.
fn refuses_colour(flag: Option<bool>, is_terminal: bool) -> bool {
    is_set(environment::PACKER_NO_COLOR)
        || !flag.unwrap_or_else(|| !(is_set(environment::NO_COLOR) || (is_terminal && is_dumb())))
}

fn is_dumb() -> bool {
    variable(environment::TERM).is_some_and(|terminal| terminal == "dumb")
}

/// Whether to use colours on standard output; `flag` is the value of `-color`, if it was given.
pub(crate) fn wants_colour(flag: Option<bool>) -> bool {
    let is_terminal = io::stdout().is_terminal();
    (flag == Some(true) || is_terminal) && !refuses_colour(flag, is_terminal)
}

/// Whether to use colours on standard error.
pub(crate) fn wants_colour_on_errors() -> bool {
    io::stderr().is_terminal() && !refuses_colour(None, true)
}

/// Whether somebody reads standard output on a terminal.
pub(crate) fn is_watched() -> bool {
    io::stdout().is_terminal()
}

/// Whether somebody sits there who sees what is asked and can type an answer, and no service that builds all day.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && !is_set(environment::CI)
}

/// Whether the terminal stands on a desktop of this machine's, or can show a window on one.
pub(crate) fn is_on_desktop() -> bool {
    environment::DISPLAYS.iter().any(|name| is_set(name))
}

/// Whether lines on standard error can be drawn again and again.
pub(crate) fn can_redraw() -> bool {
    io::stderr().is_terminal() && !is_dumb()
}

/// Whether live lines can be drawn below the output: both outputs lead to a terminal that can do it.
pub(crate) fn can_draw() -> bool {
    io::stdout().is_terminal() && can_redraw()
}

/// Standard output, for people.
pub(crate) fn stdout() -> Visible<StdoutLock<'static>> {
    stdout_with(None)
}

/// Standard output, for people; `colour` is the value of `-color`, if it was given.
pub(crate) fn stdout_with(colour: Option<bool>) -> Visible<StdoutLock<'static>> {
    let is_terminal = io::stdout().is_terminal();
    Visible::new(io::stdout().lock(), rules(colour, is_terminal))
}

/// Standard error.
pub(crate) fn stderr() -> Visible<StderrLock<'static>> {
    let is_terminal = io::stderr().is_terminal();
    Visible::new(io::stderr().lock(), rules(None, is_terminal))
}

/// Standard output for JSON that [`visible::json`] has been through.
pub(crate) fn json_stdout() -> Visible<StdoutLock<'static>> {
    Visible::new(io::stdout().lock(), Rules::ALL)
}

/// Standard output for a text that is kept as it is, a template perhaps: every byte of it, but for a terminal.
pub(crate) fn data_stdout() -> Box<dyn Write> {
    if is_watched() { Box::new(stdout()) } else { Box::new(io::stdout().lock()) }
}

/// Standard output for images and pictures: every byte as it is.
pub(crate) fn raw_stdout() -> Stdout {
    io::stdout()
}

/// Prints a value as JSON over several lines.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(CommandError::new)?;
    Ok(writeln!(json_stdout(), "{}", visible::json(&text))?)
}

fn rules(colour: Option<bool>, is_terminal: bool) -> Rules {
    let locale = environment::LOCALE.iter().filter_map(|name| variable(name)).find(|value| !value.is_empty());
    let ascii = is_terminal && locale.is_some_and(|locale| !is_utf8(&locale.to_string_lossy()));
    Rules { colours: !refuses_colour(colour, is_terminal), ascii }
}

/// Whether a locale encodes texts as UTF-8. `C` and names without an encoding do not; where none is set, as in most
/// containers, the terminal is a modern one.
fn is_utf8(locale: &str) -> bool {
    let encoding = locale.split_once('.').map_or("", |(_, encoding)| encoding);
    let encoding = encoding.split('@').next().unwrap_or_default();
    encoding.replace('-', "").eq_ignore_ascii_case("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_name_their_encoding() {
        for (locale, utf8) in [
            ("C.UTF-8", true),
            ("de_DE.utf8@euro", true),
            ("C", false),
            ("POSIX", false),
            ("de_DE", false),
            ("de_DE.ISO-8859-1", false),
        ] {
            assert_eq!(is_utf8(locale), utf8, "{locale}");
        }
    }

    /// Whoever writes past this module writes what nobody has made visible.
    #[test]
    fn nothing_else_writes_to_the_terminal() {
        let mut directories = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut files = 0;
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                files += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                let bare = |name: &str| text.contains(&format!("io::{name}()")) || text.contains(&format!(" {name}()"));
                let writes = bare("stdout") || bare("stderr") || text.contains("print!(") || text.contains("println!(");
                assert!(!writes || path.ends_with("src/terminal.rs"), "{}", path.display());
            }
        }
        assert!(files > 30, "{files}");
    }
}
