//! The options of the small provisioners: file, breakpoint, sleep, hcp-sbom.

use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;

const FILE_OPTIONS: &[OptionSpec] = option_table! {
    "source" String = "", "file or directory to transfer";
    "sources" Strings = "", "several";
    "content" String = "", "text to write instead";
    "destination" String required = "", "where to";
    "direction" String = "upload", "upload or download";
    "generated" Bool = "false", "the source does not exist yet when the template is checked";
};

const FILE_RULES: &[Rule] = &[
    Rule::OneOf("direction", &["upload", "download"]),
    Rule::Check(
        "`content` excludes `source` and `sources`. What is uploaded exists, unless `generated` is set.",
        checks::transfer::provisioner,
    ),
];

define!(FILE = Provisioner "file" true, "Copies files to the guest or from it.", FILE_OPTIONS, [], [FILE_RULES]);

const BREAKPOINT_OPTIONS: &[OptionSpec] = option_table! {
    "note" String = "", "text to show";
    "disable" Bool = "false", "do not stop here";
};

define!(BREAKPOINT = Provisioner "breakpoint" true, "Stops until someone says to go on.", BREAKPOINT_OPTIONS, [], []);

const SLEEP_OPTIONS: &[OptionSpec] = option_table! {
    "duration" Duration = "", "how long to wait";
};

const SLEEP_RULES: &[Rule] = &[Rule::Check("`duration` is required.", |reader| {
    if !reader.options.is_set("duration") {
        reader.error("duration", "Missing duration", "The sleep provisioner needs a duration.");
    }
})];

define!(SLEEP = Provisioner "sleep" true, "Waits.", SLEEP_OPTIONS, [], [SLEEP_RULES]);

const SBOM_OPTIONS: &[OptionSpec] = option_table! {
    "source" String = "", "the SBOM file in the guest";
    "auto_generate" Bool = "false", "make the SBOM in the guest";
    "destination" String = "", "where it goes on this machine";
    "sbom_name" String = "", "its name in the registry";
    "scanner_args" Strings = "-o cyclonedx-json", "arguments of the scanner";
    "scanner_url" String = "", "where the scanner comes from";
    "scanner_checksum" String = "", "its checksum";
    "scan_path" String = "/", "what is scanned";
    "execute_command" String late = "chmod +x {{.Path}} && sudo {{.Path}} sbom-generate {{.Args}} {{.ScanPath}} > {{.Output}}", "how the scanner is run";
    "elevated_user" String = "", "user to run it as (Windows)";
    "elevated_password" String sensitive = "", "that user's password";
};

const SBOM_RULES: &[Rule] = &[
    Rule::Exclusive(&["source", "auto_generate"]),
    Rule::Needed(&["source", "auto_generate"]),
    Rule::Requires("elevated_password", "elevated_user"),
    Rule::Fields("execute_command", &["Path", "Args", "ScanPath", "Output"]),
    Rule::Check("`sbom_name` has 3 to 36 letters, digits and hyphens.", |reader| {
        let Some(name) = reader.text("sbom_name") else { return };
        let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !fits || !(3..=36).contains(&name.len()) {
            let detail = format!("sbom_name is {name:?}, but must have 3 to 36 letters, digits and hyphens.");
            reader.error("sbom_name", "Invalid name", detail);
        }
    }),
];

define!(HCP_SBOM = Provisioner "hcp-sbom" false,
    "Fetches or makes a software bill of materials of the guest.", SBOM_OPTIONS, [], [SBOM_RULES]);
