//! What these tests load templates with: catalogs, inputs, and the corpus of real templates.

use std::path::{Path, PathBuf};

use kiln_template::{Catalog, ComponentType, Inputs, Schema};

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
            Self::These(_) if component == ComponentType::DataSource => vec!["http", "null"],
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
        vars: Vec::new(),
        var_files: Vec::new(),
        env: [].into(),
        only: Vec::new(),
        except: Vec::new(),
        now: "2020-01-02T03:04:05Z".parse().unwrap(),
        warn_on_undeclared_var: true,
    }
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
