//! Has shells complete flags with one dash, too: they are Packer's, and people's fingers know them.

use clap_complete::Shell;

/// Asks clap's function for the flag with two dashes, and takes one off again.
const BASH: &str = r#"
_kiln_with_one_dash() {
    local before="$3" long=() i
    [[ "${before}" == -[!-]?* ]] && before="-${before}"
    if [[ "$2" == -[!-]* ]]; then
        _kiln "$1" "-$2" "${before}"
        for i in "${COMPREPLY[@]}"; do long+=("${i#-}"); done
    fi
    _kiln "$1" "$2" "${before}"
    COMPREPLY=("${long[@]}" "${COMPREPLY[@]}")
}
"#;

/// Adds them to the script that clap made for a shell.
pub(super) fn added(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Zsh => zsh(script),
        Shell::Fish => script.lines().map(fish).collect(),
        _ => script.replace("complete -F _kiln ", "complete -F _kiln_with_one_dash ") + BASH,
    }
}

/// Gives each long option a second name: `complete … -l force` the old-style `-o force`.
fn fish(line: &str) -> String {
    match line.split_once(" -l ") {
        Some((before, rest)) if line.starts_with("complete ") && !before.contains(" -d ") => {
            let name = rest.split(' ').next().unwrap_or_default();
            format!("{before} -l {name} -o {rest}\n")
        }
        _ => format!("{line}\n"),
    }
}

/// Writes each long option a second time: `'--force=[…]' \` and `'-force=[…]' \`.
fn zsh(script: &str) -> String {
    // clap has flags of one letter taken together (`-s`), and `-on` would be `-o -n`; Kiln does not read them so.
    let script = script.replace("_arguments_options=(-s ", "_arguments_options=(");
    // One that lists its values has several lines.
    let option = |piece: &str| {
        let option = &piece[piece.rfind("\n'").map_or(0, |at| at + 1)..];
        let dashes = option.len() - after_exclusions(option)?.len();
        Some(format!("{}{}", &option[..dashes], &option[dashes + 1..]))
    };
    script.split_inclusive("' \\\n").map(|piece| format!("{piece}{}", option(piece).unwrap_or_default())).collect()
}

/// Returns an option from its two dashes on: what is behind `'`, `'*` or `'(--others)`.
fn after_exclusions(option: &str) -> Option<&str> {
    let option = option.strip_prefix('\'')?;
    let option = if option.starts_with('(') { option.split_once(')')?.1 } else { option };
    Some(option.strip_prefix('*').unwrap_or(option)).filter(|option| option.starts_with("--"))
}
