//! The options of Kiln's own provisioners.

use kiln_template::OptionSpec;

use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;

const REBOOT_OPTIONS: &[OptionSpec] = option_table! {
    "reboot_command" String late = "if [ \"$(id -u)\" = 0 ]; then reboot; else sudo -n reboot; fi", "what restarts the guest";
    "boot_id_command" String = "cat /proc/sys/kernel/random/boot_id", "what prints something else after each boot";
    "reboot_timeout" Duration = "5m", "how long the restart may take";
};

const REBOOT_RULES: &[Rule] = &[Rule::Fields("reboot_command", &[])];

define!(REBOOT = Provisioner "reboot" true,
    "Kiln's own: restarts the guest, and proves by its boot id that it has restarted.", REBOOT_OPTIONS, [], [REBOOT_RULES]);

const SBOM_OPTIONS: &[OptionSpec] = option_table! {
    "destination" String required = "", "the directory on this machine that the lists go to";
    "formats" Strings = r#"["cyclonedx", "spdx"]"#, "what is written: CycloneDX 1.5 as NAME.cdx.json, SPDX 2.3 as NAME.spdx.json";
    "sbom_name" String = "", "NAME; the source's label when it is unset";
};

const SBOM_RULES: &[Rule] = &[
    Rule::EachOneOf("formats", &["cyclonedx", "spdx"]),
    Rule::Check("`sbom_name` is one file name.", |reader| {
        if reader.text("sbom_name").is_some_and(|name| name.contains('/') || name.starts_with('.')) {
            reader.error(
                "sbom_name",
                "Invalid name",
                "sbom_name becomes the name of files: it has no slash, and no dot in front.",
            );
        }
    }),
];

define!(SBOM = Provisioner "sbom" true,
    "Kiln's own: lists the guest's packages as CycloneDX and SPDX (dpkg, rpm, apk, pacman).", SBOM_OPTIONS, [], [SBOM_RULES]);
