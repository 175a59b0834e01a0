//! The options of the fake builder, and how they are read.

use kiln_template::OptionSpec;

use crate::default_names;
use crate::option_values::OptionValues;
use crate::options::define::define;
use crate::options::option_table::option_table;
use crate::options::shared;
use crate::plan::{FakePlan, ImagePlan, ShutdownPlan, ShutdownWay};
use crate::sources::communicator::{self, TemporaryKey};
use crate::sources::shared as read;

const FAKE_OPTIONS: &[OptionSpec] = option_table! {
    "boot_key_interval" Duration = "", "pause after each key";
    "boot_steps" StringLists late = "", "[[command, description], …]; instead of boot_command";
    "iso_skip_cache" Bool = "false", "let the hypervisor read the URL";
    "output_directory" String = "output-NAME", "where the image goes";
    "registered" Bool = "false", "the hypervisor keeps the machine in a registry";
    "vm_name" String = "packer-NAME", "name of the machine and its disk";
};

define!(FAKE = Builder "fake" true,
    "Builds in a machine that is none, for tests.",
    FAKE_OPTIONS,
    [shared::ISO, shared::BOOT, shared::SHUTDOWN, shared::COMMUNICATOR],
    [shared::ISO_RULES, shared::BOOT_RULES, shared::SHUTDOWN_RULES, shared::COMMUNICATOR_RULES, shared::TEMPORARY_KEY_RULES]);

/// Reads them.
pub(crate) fn read(options: OptionValues<'_>, source_name: &str, key: TemporaryKey) -> FakePlan {
    FakePlan {
        vm_name: default_names::vm_name(options, source_name),
        output_directory: default_names::output_directory(options, source_name),
        image: ImagePlan { skip_cache: options.flag("iso_skip_cache"), ..read::read_image(options) },
        boot: read::read_boot(options),
        shutdown: ShutdownPlan { way: ShutdownWay::CommandOrPowerOff, ..read::read_shutdown(options) },
        communicator: communicator::read(options, key),
        disk_size: 1 << 20,
        registered: options.flag("registered"),
    }
}
