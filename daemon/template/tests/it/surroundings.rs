//! What these tests load templates with: catalogs, inputs, and the corpus of real templates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_template::{
    Catalog, ComponentType, Diagnostics, Evaluated, Files, Generated, Inputs, Loaded, MemoryFiles, OptionKind,
    OptionSpec, Schema, Style, load,
};

static QEMU: Schema = Schema {
    kind: "qemu",
    options: &[
        OptionSpec::new("iso_url", OptionKind::String, "", "").required(),
        OptionSpec::new("memory", OptionKind::Integer, "512", ""),
        OptionSpec::new("headless", OptionKind::Bool, "", ""),
        OptionSpec::new("boot_wait", OptionKind::Duration, "10s", ""),
        OptionSpec::new("boot_command", OptionKind::Strings, "", "").late(),
        OptionSpec::new("qemuargs", OptionKind::StringLists, "", ""),
        OptionSpec::new("http_content", OptionKind::Map, "", ""),
        OptionSpec::new("ssh_password", OptionKind::String, "", "").sensitive(),
        OptionSpec::new(
            "qemu_img_args",
            OptionKind::Block(&[OptionSpec::new("create", OptionKind::Strings, "", "")]),
            "",
            "",
        ),
        OptionSpec::new("iso_urls", OptionKind::Strings, "", ""),
        OptionSpec::new("vm_name", OptionKind::String, "", ""),
    ],
    groups: &[],
};

static SHELL: Schema = Schema {
    kind: "shell",
    options: &[
        OptionSpec::new("inline", OptionKind::Strings, "", ""),
        OptionSpec::new("environment_vars", OptionKind::Strings, "", ""),
        OptionSpec::new("execute_command", OptionKind::String, "", "").late(),
        OptionSpec::new("valid_exit_codes", OptionKind::Integers, "", ""),
    ],
    groups: &[],
};

static MANIFEST: Schema =
    Schema { kind: "manifest", options: &[OptionSpec::new("output", OptionKind::String, "", "")], groups: &[] };

static COMPRESS: Schema =
    Schema { kind: "compress", options: &[OptionSpec::new("output", OptionKind::String, "", "").late()], groups: &[] };

/// A few components, with an option of each kind.
pub(crate) static CATALOG: Components = Components::These(&[
    (ComponentType::Builder, &QEMU),
    (ComponentType::Provisioner, &SHELL),
    (ComponentType::PostProcessor, &MANIFEST),
    (ComponentType::PostProcessor, &COMPRESS),
]);

/// Which components there are.
pub(crate) enum Components {
    /// None.
    Nothing,
    /// Any of any name, all with the same options.
    Anything(&'static Schema),
    /// These, and the data sources that a catalog of its own would have.
    These(&'static [(ComponentType, &'static Schema)]),
}

impl Catalog for Components {
    fn schema(&self, component: ComponentType, kind: &str) -> Option<&'static Schema> {
        match self {
            Self::Nothing => None,
            Self::Anything(schema) => Some(schema),
            Self::These(known) => {
                known.iter().find(|(of, schema)| *of == component && schema.kind == kind).map(|(_, schema)| *schema)
            }
        }
    }

    fn kinds(&self, component: ComponentType) -> Vec<&'static str> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Anything(schema) => vec![schema.kind],
            Self::These(_) if component == ComponentType::DataSource => vec!["http", "null", "kiln-image"],
            Self::These(known) => {
                known.iter().filter(|(of, _)| *of == component).map(|(_, schema)| schema.kind).collect()
            }
        }
    }
}

/// What a load of a template in `/w` starts from.
pub(crate) fn inputs(path: impl Into<PathBuf>) -> Inputs {
    Inputs {
        path: path.into(),
        cwd: "/w".into(),
        now: "2020-01-02T03:04:05Z".parse().unwrap(),
        warn_on_undeclared_var: true,
        ..Inputs::default()
    }
}

/// Loads an HCL template, which has `x.txt` beside it.
pub(crate) fn load_hcl(text: &str, inputs: &Inputs) -> Loaded {
    let files = MemoryFiles::new().with("/w/t.pkr.hcl", text).with("/w/x.txt", "content");
    load(inputs, Arc::new(files), &CATALOG)
}

/// Returns what is said of a load.
pub(crate) fn said(loaded: &Loaded) -> String {
    loaded.diagnostics.render(&loaded.sources, &Style::default())
}

/// Returns what is said of a template and of all its options.
pub(crate) fn problems(inputs: &Inputs, files: Arc<dyn Files>) -> String {
    let mut loaded = load(inputs, files, &CATALOG);
    let found = loaded.to_check().into_iter().flat_map(Evaluated::components);
    let found: Vec<Diagnostics> = found.map(|component| component.decode(&Generated::plan()).1).collect();
    loaded.diagnostics.extend(found.into_iter().flatten());
    loaded.diagnostics.dedup();
    said(&loaded)
}

/// Returns what is said of an HCL template and of all its options.
pub(crate) fn problems_of_hcl(text: &str) -> String {
    problems(&inputs("t.pkr.hcl"), Arc::new(MemoryFiles::new().with("/w/t.pkr.hcl", text)))
}

/// Asserts that what is told of an HCL template holds all of `wanted` and none of `unwanted`.
pub(crate) fn check_told(text: &str, wanted: &[&str], unwanted: &[&str]) {
    let told = problems_of_hcl(text);
    let missing: Vec<_> = wanted.iter().filter(|part| !told.contains(**part)).collect();
    let surplus: Vec<_> = unwanted.iter().filter(|part| told.contains(**part)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:?}, surplus {surplus:?} in:\n{told}");
}

/// Returns the corpus: the folder that `KILN_CORPUS` names, else `../shared/corpus` beside the repository. Nothing where it is
/// absent, which is said: it is no part of the project, whose tests pass without it.
pub(crate) fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let path = std::env::var_os("KILN_CORPUS").map_or(beside, PathBuf::from);
    if path.join("index.json").is_file() {
        return Some(path);
    }
    eprintln!("ignored: needs the corpus in {}", path.display());
    None
}
