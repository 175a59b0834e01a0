//! Makes components, plans and complaints of options that a test gives, whatever else is wrong.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_template::{
    Component, ComponentType, DataMode, Diagnostics, Generated, Inputs, MemoryFiles, OptionKind, OptionSpec, load_with,
};

use crate::backends::Backends;
use crate::catalog::{BuiltIn, definitions};
use crate::check::{CheckRequest, Checked, Wanted, check};
use crate::option_values::OptionValues;
use crate::options::Definition;
use crate::plan::{BuildPlan, SourcePlan};
use crate::plan_reader::{PlanReader, Purpose};
use crate::sources;

/// Options by name, each with its value as HCL.
pub(crate) type Body = BTreeMap<&'static str, String>;

/// Everything about every component that runs.
pub(crate) fn running() -> impl Iterator<Item = &'static Definition> {
    definitions().filter(|definition| definition.runs)
}

/// Options that a test writes down: `name = value` in each line.
pub(super) fn body(text: &'static str) -> Body {
    let lines = text.lines().filter_map(|line| line.split_once(" = "));
    lines.map(|(name, value)| (name.trim(), value.to_owned())).collect()
}

/// A template with one component of these options, and what else there must be.
pub(super) fn template(definition: &Definition, options: &Body) -> String {
    let line = |(name, value): (&&'static str, &String)| match definition.schema.spec(name).map(|spec| spec.kind) {
        Some(OptionKind::Block(_) | OptionKind::Blocks(_)) => format!("    {name} {value}\n"),
        _ => format!("    {name} = {value}\n"),
    };
    let lines: String = options.iter().map(line).collect();
    let kind = definition.schema.kind;
    let null = "source \"null\" \"x\" {\n  ssh_host = \"h\"\n  ssh_username = \"u\"\n  ssh_password = \"p\"\n}\n";
    match definition.component {
        ComponentType::Builder => {
            format!("source \"{kind}\" \"x\" {{\n{lines}}}\nbuild {{\n  sources = [\"{kind}.x\"]\n}}\n")
        }
        other => {
            let block = other.noun();
            format!("{null}build {{\n  sources = [\"null.x\"]\n  {block} \"{kind}\" {{\n{lines}  }}\n}}\n")
        }
    }
}

/// Loads a template and checks it as `validate` does.
pub(super) fn checked(text: &str, vars: &[&str]) -> Checked {
    checked_as("t.pkr.hcl", text, vars)
}

/// The same of a file named `name`, whose ending says which dialect it is in.
pub(super) fn checked_as(name: &str, text: &str, vars: &[&str]) -> Checked {
    checked_for(Purpose::Validate, name, text, vars)
}

/// Loads a template and plans it as `build` does.
pub(super) fn planned(text: &str, vars: &[&str]) -> Checked {
    checked_for(Purpose::Build, "t.pkr.hcl", text, vars)
}

fn checked_for(purpose: Purpose, name: &str, text: &str, vars: &[&str]) -> Checked {
    let request = CheckRequest {
        template: PathBuf::from(name),
        text: Some(text.to_owned()),
        cwd: std::env::current_dir().unwrap(),
        vars: vars.iter().map(|&var| var.to_owned()).collect(),
        warn_on_undeclared_var: true,
        ..CheckRequest::default()
    };
    check(&request, purpose, &Backends::real(Path::new("/nonexistent"), &BTreeMap::new()), Arc::new(|_| {}))
}

/// The plans of a template that is right.
pub(super) fn plans(text: &str, vars: &[&str]) -> Vec<BuildPlan> {
    let checked = planned(text, vars);
    let problems: Vec<String> = checked.problems(Wanted::Both).into_iter().map(|problem| problem.text).collect();
    assert!(checked.valid, "{problems:?}\n{text}");
    checked.planned.into_iter().map(|planned| planned.plan).collect()
}

/// The component itself, whatever is wrong with its options.
pub(super) fn component(definition: &Definition, options: &Body) -> Component {
    let cwd = PathBuf::from("/t");
    let inputs = Inputs {
        path: "t.pkr.hcl".into(),
        cwd: cwd.clone(),
        vars: Vec::new(),
        var_files: Vec::new(),
        env: BTreeMap::new(),
        only: Vec::new(),
        except: Vec::new(),
        now: jiff::Timestamp::UNIX_EPOCH,
        warn_on_undeclared_var: false,
    };
    let text = template(definition, options);
    let files = MemoryFiles::new().with(cwd.join("t.pkr.hcl"), text.as_bytes());
    let loaded = load_with(&inputs, Arc::new(files), &BuiltIn, DataMode::Unknown);
    let evaluated = loaded.evaluated.or(loaded.incomplete).unwrap();
    let found = evaluated.components().find(|component| component.kind == definition.schema.kind);
    found.unwrap_or_else(|| panic!("no component in\n{text}")).clone()
}

/// What `told` says of the options; returns whether each is an error, and its summary.
pub(super) fn complaints(
    definition: &Definition,
    options: &Body,
    told: impl FnOnce(&mut PlanReader<'_>),
) -> HashMap<String, bool> {
    let component = component(definition, options);
    let (decoded, _) = component.decode_partly(&Generated::plan());
    let mut diagnostics = Diagnostics::new();
    told(&mut PlanReader {
        options: &decoded,
        schema: component.schema(),
        diagnostics: &mut diagnostics,
        source_name: "x".to_owned(),
        force: false,
        mentions_key: true,
        purpose: Purpose::Build,
        late: component.template_context(&Generated::plan()),
    });
    diagnostics.iter().map(|diagnostic| (diagnostic.summary.clone(), diagnostic.is_error())).collect()
}

/// What a source will do, whatever is wrong with its options.
pub(crate) fn source(definition: &Definition, options: &Body) -> SourcePlan {
    let component = component(definition, options);
    let (decoded, _) = component.decode_partly(&Generated::plan());
    let values = OptionValues::new(&decoded, component.schema());
    match sources::read(definition.schema.kind, values, "x", true) {
        SourcePlan::Unbuilt => panic!("{} does not run", definition.schema.kind),
        source => source,
    }
}

/// A build of nothing but its source.
pub(super) fn build_of(source: SourcePlan) -> BuildPlan {
    BuildPlan {
        name: "x".to_owned(),
        source_name: "x".to_owned(),
        source_type: "x".to_owned(),
        source,
        provisioners: Vec::new(),
        cleanup_provisioner: None,
        post_processors: Vec::new(),
    }
}

/// A value of an option's type that is nobody's default.
pub(super) fn some_value(spec: &OptionSpec) -> String {
    match spec.kind {
        OptionKind::String | OptionKind::Json => "\"changed\"".to_owned(),
        OptionKind::Bool | OptionKind::Trilean => (spec.default != "true").to_string(),
        OptionKind::Integer => "12345".to_owned(),
        OptionKind::Duration => "\"17s\"".to_owned(),
        OptionKind::Strings => "[\"changed\"]".to_owned(),
        OptionKind::Integers => "[17]".to_owned(),
        OptionKind::Map => "{ changed = \"yes\" }".to_owned(),
        OptionKind::StringLists => "[[\"changed\", \"yes\"]]".to_owned(),
        OptionKind::Block(_) | OptionKind::Blocks(_) => "{}".to_owned(),
    }
}
