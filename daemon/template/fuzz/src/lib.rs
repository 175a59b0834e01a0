//! What the fuzz targets of the template languages share: a catalog with options of each kind, loading, and a memory limit.

use std::sync::Arc;

use kiln_template::{
    Catalog, ComponentType, Console, Generated, Inputs, Loaded, MemoryFiles, OptionKind, OptionSpec, Schema, Style,
    load,
};

#[path = "../../../../disk-formats/fuzz/src/memory_limit.rs"]
pub mod memory_limit;

static SCHEMA: Schema = Schema {
    kind: "qemu",
    options: &[
        OptionSpec::new("iso_url", OptionKind::String, "", ""),
        OptionSpec::new("inline", OptionKind::Strings, "", ""),
        OptionSpec::new("vars", OptionKind::Map, "", ""),
        OptionSpec::new("drive", OptionKind::Blocks(&[OptionSpec::new("file", OptionKind::String, "", "")]), "", ""),
    ],
    groups: &[],
};

struct Everything;

impl Catalog for Everything {
    fn schema(&self, _: ComponentType, _: &str) -> Option<&'static Schema> {
        Some(&SCHEMA)
    }

    fn kinds(&self, _: ComponentType) -> Vec<&'static str> {
        vec!["qemu", "shell", "manifest"]
    }
}

/// Returns what a load of `path` starts from, with no surroundings.
pub fn inputs(path: &str) -> Inputs {
    Inputs { path: path.into(), cwd: "/w".into(), warn_on_undeclared_var: true, ..Inputs::default() }
}

/// What a template means, as far as it can be compared: its builds' options, or what is wrong with it.
#[derive(Debug, PartialEq)]
pub struct Meaning {
    builds: Vec<String>,
    problems: Vec<String>,
}

/// Loads a template from its text alone, shows every diagnostic in each form, and decodes all components.
pub fn meaning(path: &str, text: &str) -> Meaning {
    let files = MemoryFiles::new().with(format!("/w/{path}"), text).with("/w/x.txt", "${name} %{ if true }x%{ endif }");
    let Loaded { evaluated, incomplete, diagnostics, sources, .. } = load(&inputs(path), Arc::new(files), &Everything);
    let rendered = diagnostics.render(&sources, &Style::default());
    assert_eq!(rendered.is_empty(), diagnostics.iter().next().is_none());
    assert_eq!(diagnostics.reports(&sources).len(), diagnostics.iter().count());
    let mut builds = Vec::new();
    // What is left of a template with errors is checked too.
    for component in incomplete.iter().flat_map(|incomplete| incomplete.components()) {
        let _ = component.decode_partly(&Generated::plan());
    }
    for component in evaluated.iter().flat_map(|evaluated| evaluated.components()) {
        let (options, _) = component.decode_partly(&Generated::plan());
        builds.push(options.to_json().to_string());
    }
    let problems = diagnostics.iter().map(|diagnostic| diagnostic.summary.clone()).collect();
    Meaning { builds, problems }
}

/// Returns a console without a template.
pub fn console() -> Console {
    Console::empty(&inputs("."), Arc::new(MemoryFiles::new().with("/w/x.txt", "${name}")))
}

/// Writes a text as a quoted HCL string without templates in it.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            // "${" and "%{" begin a template; doubled they are themselves.
            '$' | '%' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            character if character.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            character => out.push(character),
        }
    }
    out.push('"');
    out
}
