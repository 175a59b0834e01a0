//! A command line of `VBoxManage`, as words.

/// A command line without the program.
pub(super) type Call = Vec<String>;

/// Splits a command line at its blanks: for those that have none in their words.
pub(super) fn words(line: &str) -> Call {
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Adds words that have no blanks.
pub(super) fn add(call: &mut Call, more: &str) {
    call.extend(more.split_whitespace().map(ToOwned::to_owned));
}

/// VirtualBox's word for a switch.
pub(super) fn on(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}
