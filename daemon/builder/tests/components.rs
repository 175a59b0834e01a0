//! The option tables beside the reference's list of options, and the documentation pages beside the tables.

use std::path::{Path, PathBuf};

use kiln_builder::{BuiltIn, component_pages};
use kiln_template::{Catalog, ComponentType, OptionKind};
use serde_json::Value as Json;

/// Options whose type is another one here, and why.
const OTHER_TYPES: &[(&str, &str, &str)] = &[(
    "vagrant",
    "override",
    "the list says map of strings, which cannot hold what the option is for: options by provider",
)];

/// Options that the list has beside a component and that every post-processor has here.
const OF_ALL: &[(&str, &str)] = &[("artifice", "keep_input_artifact")];

/// Options that Packer has not.
const OWN: &[(&str, &str)] = &[("qemu", "efi_secure_boot"), ("qemu", "guest_agent_timeout")];

/// The same, of every builder with a guest.
const OWN_OF_BUILDERS: &[&str] = &["ssh_proxy_type"];

/// The type as the reference's list spells it. Durations are strings there, and trileans booleans.
fn listed_type(kind: &OptionKind) -> &'static str {
    match kind {
        OptionKind::String | OptionKind::Duration => "cty.String",
        OptionKind::Bool | OptionKind::Trilean => "cty.Bool",
        OptionKind::Integer => "cty.Number",
        OptionKind::Strings => "cty.List(cty.String)",
        OptionKind::Integers => "cty.List(cty.Number)",
        OptionKind::Map => "cty.Map(cty.String)",
        OptionKind::StringLists => "cty.List(cty.List(cty.String))",
        _ => "block",
    }
}

#[test]
fn every_option_of_the_reference_is_known_with_its_type() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let root = std::env::var_os("KILN_CORPUS").map_or(beside, PathBuf::from);
    let path = root.join("suites/option_specs.json");
    let Ok(bytes) = std::fs::read(&path) else {
        // Not part of the project: its tests must pass without it wherever they run.
        eprintln!("ignored: needs {}", path.display());
        return;
    };
    let list: Json = serde_json::from_slice(&bytes).unwrap();
    let builders = list["builders"].as_object().unwrap().iter().map(|(kind, specs)| (format!("builder:{kind}"), specs));
    let others = list["others"].as_object().unwrap().iter().map(|(name, specs)| (name.clone(), specs));
    let (mut wrong, mut checked, mut excused) = (Vec::new(), 0, 0);
    for (name, listed) in builders.chain(others) {
        let (component, kind) = name.split_once(':').unwrap();
        let component = match component {
            "builder" => ComponentType::Builder,
            "provisioner" => ComponentType::Provisioner,
            "post-processor" => ComponentType::PostProcessor,
            other => panic!("{other}"),
        };
        let Some(schema) = BuiltIn.schema(component, kind) else {
            wrong.push(format!("{name}: no such component"));
            continue;
        };
        for (option, spec) in listed.as_object().unwrap() {
            checked += 1;
            if OF_ALL.contains(&(kind, option)) {
                assert!(schema.spec(option).is_none(), "{name}.{option} is known: remove the exception");
                continue;
            }
            let Some(known) = schema.spec(option) else {
                wrong.push(format!("{name}: no option {option}"));
                continue;
            };
            let expected = if spec["kind"] == "AttrSpec" { spec["type"].as_str().unwrap() } else { "block" };
            let differs = listed_type(&known.kind) != expected;
            if OTHER_TYPES.iter().any(|(k, o, _)| *k == kind && o == option) {
                assert!(differs, "{name}.{option} has the listed type: remove the exception");
                excused += 1;
            } else if differs {
                wrong.push(format!("{name}.{option}: {expected} in the list, {} here", known.kind.noun()));
            }
        }
        let of_builders = |option: &str| component == ComponentType::Builder && OWN_OF_BUILDERS.contains(&option);
        let own = |option: &str| of_builders(option) || OWN.iter().any(|(k, o)| *k == kind && *o == option);
        let listed = listed.as_object().unwrap();
        for spec in schema.specs().filter(|spec| !listed.contains_key(spec.name) && !own(spec.name)) {
            wrong.push(format!("{name}.{}: not in the list", spec.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 1000 && excused == OTHER_TYPES.len(), "{checked} checked, {excused} excused");
}

/// `KILN_BLESS=1` writes the pages instead.
#[test]
fn the_pages_are_those_of_the_tables() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/components");
    let pages = component_pages();
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in &pages {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let found = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert!(found == *text, "docs/components/{name} is not what the tables say; ./x components writes it");
    }
    let found = std::fs::read_dir(&directory).unwrap().count();
    assert_eq!(found, pages.len(), "docs/components holds a page of no component");
}
