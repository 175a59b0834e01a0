//! Rules of shell and shell-local.

use std::path::Path;

use kiln_template::Generated;

use crate::plan_reader::PlanReader;

/// Which scripts the shell provisioner runs.
pub(crate) fn shell(reader: &mut PlanReader<'_>) {
    one_kind(reader, "Either a script file or inline script must be specified.");
}

/// Which scripts shell-local runs.
pub(crate) fn shell_local(reader: &mut PlanReader<'_>) {
    one_kind(reader, "Command, Inline, Script and Scripts options cannot all be empty.");
}

fn has_inline(reader: &PlanReader<'_>) -> bool {
    !reader.options.strings("inline").is_empty() || reader.options.string("command").is_some()
}

fn one_kind(reader: &mut PlanReader<'_>, nothing: &str) {
    let options = reader.options;
    let inline = has_inline(reader);
    let (script, scripts) = (options.string("script").is_some(), !options.strings("scripts").is_empty());
    let given = [inline, script, scripts].iter().filter(|&&given| given).count();
    // A wrong value or a wrong name was meant to be one of them.
    let meant = ["inline", "command", "script", "scripts"].iter().any(|name| options.is_unusable(name));
    if given == 0 && !meant {
        reader.error("inline", "Nothing to run", nothing);
    } else if given > 1 {
        let detail = if script && scripts {
            "Only one of script or scripts can be specified."
        } else {
            "Only a script file or an inline script can be specified, not both."
        };
        reader.error("script", "More than one kind of script", detail);
    }
}

/// `use_linux_pathing` of shell-local.
pub(crate) fn linux_pathing(reader: &mut PlanReader<'_>) {
    if has_inline(reader) && reader.flag("use_linux_pathing") {
        let detail = "use_linux_pathing converts the paths of scripts; inline and command have none.";
        reader.error("use_linux_pathing", "Options that exclude each other", detail);
    }
}

/// `script` and `scripts`.
pub(crate) fn exist(reader: &mut PlanReader<'_>) {
    let single: Vec<String> = reader.options.string("script").map(str::to_owned).into_iter().collect();
    for (name, paths) in [("script", single), ("scripts", reader.texts("scripts"))] {
        for (index, path) in paths.into_iter().enumerate() {
            // A path made from build data is known only later; what it will be is checked when it runs.
            if path.contains(Generated::UNKNOWN) {
                continue;
            }
            if !Path::new(&path).exists() {
                reader.error_in(name, index, "No such script", format!("Bad script {path:?}: there is no such file."));
            } else if Path::new(&path).is_dir() {
                let detail = format!("Bad script {path:?}: it is a directory; name the scripts in it in scripts.");
                reader.error_in(name, index, "No script", detail);
            }
        }
    }
}
