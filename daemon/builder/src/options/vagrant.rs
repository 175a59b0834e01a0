//! The options of the vagrant post-processor.

use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use crate::post_processors::vagrant::{FIELDS, WORDS};

/// Writes the table of what can differ between providers, and `more`.
macro_rules! provider_table {
    ($($more:tt)*) => {
        option_table! {
            "compression_level" Integer = "-1", "gzip's, 0 to 9; 0: a plain tar file";
            "include" Strings = "", "further files for the box";
            "output" String late = "packer_{{ .BuildName }}_{{ .Provider }}_{{ .Architecture }}.box", "the box";
            "vagrantfile_template" String = "", "Vagrantfile that goes into the box";
            "vagrantfile_template_generated" Bool = "false", "it does not exist yet when the template is checked";
            "provider_override" String = "", "the box's provider, when the builder does not tell";
            "architecture" String = "the guest's", "the guest's architecture, as Vagrant calls it: amd64, arm64";
            $($more)*
        }
    };
}

const PROVIDER: &[OptionSpec] = provider_table! {};

/// The same in `override`, where Packer takes and ignores one more.
const OVERRIDE: &[OptionSpec] = provider_table! {
    "keep_input_artifact" Bool = "false", "ignored: say it beside override";
};

/// Providers by the names that `override` uses.
const PROVIDERS: &[OptionSpec] = option_table! {
    "aws" Block(OVERRIDE) = "", "Amazon EC2";
    "azure" Block(OVERRIDE) = "", "Azure";
    "digitalocean" Block(OVERRIDE) = "", "DigitalOcean";
    "docker" Block(OVERRIDE) = "", "Docker";
    "file" Block(OVERRIDE) = "", "the file builder";
    "google" Block(OVERRIDE) = "", "Google Compute Engine";
    "hyperv" Block(OVERRIDE) = "", "Hyper-V";
    "libvirt" Block(OVERRIDE) = "", "QEMU";
    "lxc" Block(OVERRIDE) = "", "LXC";
    "parallels" Block(OVERRIDE) = "", "Parallels";
    "scaleway" Block(OVERRIDE) = "", "Scaleway";
    "virtualbox" Block(OVERRIDE) = "", "VirtualBox";
    "vmware" Block(OVERRIDE) = "", "VMware";
};

const OPTIONS: &[OptionSpec] = option_table! {
    "override" Block(PROVIDERS) = "", "other values for some providers";
};

const RULES: &[Rule] = &[
    Rule::OneOf("provider_override", WORDS),
    Rule::Check(
        "This version makes boxes for `virtualbox`, `vmware`, `libvirt`, `docker` and `file` only.",
        checks::vagrant::provider,
    ),
    Rule::Fields("output", FIELDS),
    Rule::Check("`compression_level` is between -1 and 9.", checks::vagrant::compression_level),
    Rule::Check(
        "`vagrantfile_template` exists, unless `vagrantfile_template_generated` is set.",
        checks::vagrant::template,
    ),
    Rule::Check("What stands in `override` is held to the same rules.", checks::vagrant::overrides),
];

define!(VAGRANT = PostProcessor "vagrant" true,
    "Makes a Vagrant box, without Vagrant and without the hypervisor: its provider may be another than the builder's, and the disks are \
     written anew for it.", OPTIONS, [PROVIDER], [RULES]);
