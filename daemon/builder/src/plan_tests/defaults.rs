//! The defaults of the tables are those that act.

use kiln_template::{ComponentType, Generated, OptionKind, OptionSpec};

use super::component::{Body, body, component, running, source};
use crate::option_values::OptionValues;
use crate::options::Definition;

/// Options whose default is worked out, or whose value means something else when it is set.
const WORKED_OUT: &[(&str, &str)] = &[
    ("output_directory", "words: it holds the source's name"),
    ("vm_name", "words: it holds the source's name"),
    ("remote_file", "words: it holds a number of its own for each script"),
    ("winrm_port", "words: it depends on winrm_use_ssl"),
    ("ssh_timeout", "has a default only when ssh_handshake_attempts is unset too"),
    ("ssh_handshake_attempts", "has a default only when ssh_timeout is unset too"),
    ("output_filename", "words: it is the machine's name"),
    ("display_name", "words: it is the machine's name"),
    ("gfx_controller", "words: VirtualBox recommends one for the guest's system"),
    ("guest_additions_interface", "it is iso_interface where there is one"),
    ("post_shutdown_delay", "setting it asks for a wait, where otherwise the machine is waited for"),
    ("vnc_bind_address", "setting it asks for VNC"),
    ("vnc_port_min", "setting it asks for VNC"),
    ("vnc_port_max", "setting it asks for VNC"),
    ("vnc_use_password", "setting it asks for VNC"),
    ("efi_firmware_code", "words: it depends on this host's firmware, and setting it asks for UEFI"),
    ("efi_firmware_vars", "words: it depends on this host's firmware, and setting it asks for UEFI"),
    ("machine_type", "words: it depends on qemu_binary and efi_secure_boot"),
    ("tpm_device_type", "words: it depends on qemu_binary"),
    ("qmp_socket_path", "words: it holds the source's name, and setting it asks for it"),
];

/// Options with which the others act.
const BASE: &str = "iso_url = \"x\"\niso_checksum = \"none\"\nssh_username = \"u\"\nhttp_content = { a = \"b\" }
floppy_files = [\"f\"]\ncd_files = [\"f\"]\nssh_bastion_host = \"b\"\nssh_proxy_host = \"p\"\nvtpm = true
ssh_agent_auth = true\ntarget = \"t\"\ndisk_image = true";

fn base(definition: &Definition) -> Body {
    body(BASE).into_iter().filter(|(name, _)| definition.schema.spec(name).is_some()).collect()
}

fn is_worked_out(spec: &OptionSpec) -> bool {
    WORKED_OUT.iter().any(|(name, _)| *name == spec.name)
}

/// The default of a table as a template would set it.
fn written(spec: &OptionSpec) -> String {
    match spec.kind {
        OptionKind::Bool | OptionKind::Trilean | OptionKind::Integer => spec.default.to_owned(),
        OptionKind::Integers => format!("[{}]", spec.default),
        OptionKind::Strings if spec.default.starts_with('[') => spec.default.to_owned(),
        OptionKind::Strings => format!("[{:?}]", spec.default),
        _ => serde_json::to_string(spec.default).unwrap(),
    }
}

fn with_default(definition: &'static Definition) -> impl Iterator<Item = &'static OptionSpec> {
    definition.schema.specs().filter(|spec| !spec.default.is_empty() && !is_worked_out(spec))
}

/// A source that sets an option to its default does what it does without.
#[test]
fn a_source_does_the_same_with_its_defaults_written_out() {
    let mut tried = 0;
    for definition in running().filter(|definition| definition.component == ComponentType::Builder) {
        let plain = source(definition, &base(definition));
        for spec in with_default(definition) {
            let mut options = base(definition);
            if options.contains_key(spec.name) {
                continue;
            }
            options.insert(spec.name, written(spec));
            assert_eq!(source(definition, &options), plain, "{}.{}", definition.schema.kind, spec.name);
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

/// Whatever reads an option gets the table's default.
#[test]
fn what_is_read_of_an_unset_option_is_the_tables_default() {
    let mut tried = 0;
    for definition in running() {
        let unset = component(definition, &Body::new());
        let (unset, _) = unset.decode_partly(&Generated::plan());
        let unset = OptionValues::new(&unset, &definition.schema);
        for spec in with_default(definition) {
            let set = component(definition, &Body::from([(spec.name, written(spec))]));
            let (set, _) = set.decode_partly(&Generated::plan());
            let set = OptionValues::new(&set, &definition.schema);
            let name = spec.name;
            let place = format!("{}.{name}", definition.schema.kind);
            assert!(set.is_set(name) && !unset.is_set(name), "{place}");
            match spec.kind {
                OptionKind::Bool | OptionKind::Trilean => assert_eq!(unset.flag(name), set.flag(name), "{place}"),
                OptionKind::Integer => assert_eq!(unset.number(name), set.number(name), "{place}"),
                OptionKind::Integers => assert_eq!(unset.integers(name), set.integers(name), "{place}"),
                OptionKind::Duration => assert_eq!(unset.duration(name), set.duration(name), "{place}"),
                OptionKind::Strings => assert_eq!(unset.texts(name), set.texts(name), "{place}"),
                OptionKind::String => {
                    assert_eq!(unset.text(name), set.text(name), "{place}");
                    assert_eq!(unset.text(name).as_deref(), Some(spec.default), "{place}");
                }
                other => panic!("{place}: no default of {} is read", other.noun()),
            }
            assert_eq!(unset.to_json(true)[name], set.to_json(true)[name], "{place}");
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
}

/// Where an option's default depends on a flag, that of the table acts, too, and what is given wins over both.
#[test]
fn a_flag_that_changes_a_default_does() {
    let mut tried = 0;
    for definition in running() {
        for spec in definition.schema.specs() {
            let Some((switch, other)) = spec.default_where else { continue };
            let place = format!("{}.{} with {switch}", definition.schema.kind, spec.name);
            let read = |more: &[(&'static str, &str)]| {
                let more = more.iter().map(|(name, text)| (*name, (*text).to_owned()));
                let options = component(definition, &more.collect::<Body>()).decode_partly(&Generated::plan()).0;
                let values = OptionValues::new(&options, &definition.schema);
                (values.text(spec.name).unwrap(), values.to_json(true)[spec.name].as_str().unwrap().to_owned())
            };
            let both = |text: &str| (text.to_owned(), text.to_owned());
            assert_eq!(read(&[(switch, "true")]), both(other), "{place}");
            assert_eq!(read(&[(switch, "false")]), both(spec.default), "{place}");
            assert_eq!(read(&[(switch, "true"), (spec.name, "\"given\"")]), both("given"), "{place}");
            tried += 1;
        }
    }
    // Two of shell, and the same of verify.
    assert_eq!(tried, 4);
}

/// What is excused has a reason: it exists, and it does differ or is words.
#[test]
fn what_is_worked_out_is_known() {
    for (name, reason) in WORKED_OUT {
        let specs: Vec<&OptionSpec> = running()
            .filter_map(|definition| definition.schema.spec(name))
            .filter(|one| !one.default.is_empty())
            .collect();
        assert!(!specs.is_empty(), "no component that runs has {name} with a default");
        let words = |spec: &&OptionSpec| spec.default.parse::<i64>().is_err();
        assert!(!reason.starts_with("words") || specs.iter().all(words), "{name}");
    }
}

#[test]
fn zero_empty_and_negative_are_packers_words_for_unset() {
    let qemu = running().find(|definition| definition.schema.kind == "qemu").unwrap();
    let options = body(
        "memory = 0\ndisk_interface = \"\"\nboot_wait = \"-1s\"\nssh_keep_alive_interval = \"-1s\"\nssh_port = 70000",
    );
    let decoded = component(qemu, &options).decode_partly(&Generated::plan()).0;
    let values = OptionValues::new(&decoded, &qemu.schema);
    assert_eq!((values.number("memory"), values.given_number("memory")), (512, None));
    assert_eq!((values.text("disk_interface").as_deref(), values.given("disk_interface")), (Some("virtio"), None));
    assert_eq!(values.written("disk_interface"), Some(""));
    assert_eq!(values.duration_or_never("ssh_keep_alive_interval"), None);
    assert_eq!(values.positive_duration("boot_wait").as_secs(), 10);
    assert_eq!(values.port("ssh_port"), 22, "what is no port has been refused");
    assert_eq!(values.ports("http_port_min", "http_port_max"), (8000, 9000));
}
