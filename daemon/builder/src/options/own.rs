//! The options of Kiln's own provisioners and post-processors.

use kiln_template::OptionSpec;

use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use crate::image_registry;

const REBOOT_OPTIONS: &[OptionSpec] = option_table! {
    "reboot_command" String late = "if [ \"$(id -u)\" = 0 ]; then reboot; else sudo -n reboot; fi", "what restarts the guest";
    "boot_id_command" String = "cat /proc/sys/kernel/random/boot_id", "what prints something else after each boot";
    "reboot_timeout" Duration = "5m", "how long the restart may take";
};

const REBOOT_RULES: &[Rule] = &[Rule::Fields("reboot_command", &[])];

define!(REBOOT = Provisioner "reboot" true,
    "Kiln's own: restarts the guest, and proves by its boot id that it has restarted.", REBOOT_OPTIONS, [], [REBOOT_RULES]);

const KILN_IMAGE_OPTIONS: &[OptionSpec] = option_table! {
    "image_name" String required = "", "the name by which later builds find the image";
    "channels" Strings = r#"["latest"]"#, "where it is found under that name, in the place of what was there";
    "file" String = "", "the name of the artifact's file that is meant; by default its image";
};

const KILN_IMAGE_RULES: &[Rule] =
    &[Rule::Check("`image_name` and each of `channels` are of letters, digits, `.`, `_` and `-`.", |reader| {
        let name = reader.text("image_name").map(|name| ("image_name", name));
        let channels = reader.texts("channels").into_iter().map(|channel| ("channels", channel));
        for (option, word) in name.into_iter().chain(channels).collect::<Vec<_>>() {
            if let Some(problem) = image_registry::problem_of(&word) {
                reader.error(option, "Invalid name", format!("{word:?} {problem}."));
            }
        }
    })];

define!(KILN_IMAGE = PostProcessor "kiln-image" true,
    "Kiln's own: registers an image on this machine, so that later builds find it with `data \"kiln-image\"`.",
    KILN_IMAGE_OPTIONS, [], [KILN_IMAGE_RULES]);

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
