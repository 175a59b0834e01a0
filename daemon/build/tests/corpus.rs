//! Real templates, checked as `kiln validate` checks them, from the folder that `KILN_CORPUS` names (else `../shared/corpus`
//! beside the repository). Alone in its binary, because paths in templates are relative to the process's directory.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kiln_build::{BuiltIn, CheckRequest, validate};
use kiln_template::{Catalog, ComponentType, fix};
use serde_json::Value as Json;

/// Beginnings of summaries that speak of this machine or of what the corpus leaves out, not of the template.
const NOT_THE_TEMPLATE: &[&str] = &[
    // The corpus holds no images and not every file.
    "No such file",
    "No such script",
    "No such directory",
    "Unset variable",
    "No UEFI firmware",
    // QEMU is not installed for every architecture.
    "This machine cannot be run here",
    // Values of variables that this test makes up.
    "Unknown source qemu.dummy",
    "Invalid value for variable",
];

struct Entry<'a> {
    json: &'a Json,
    /// A copy of the template's folder.
    root: PathBuf,
}

impl Entry<'_> {
    fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    fn names(&self, name: &str) -> Vec<String> {
        match &self.json[name] {
            Json::Array(list) => list.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
            Json::Object(map) => map.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn id(&self) -> String {
        format!("{} {}", self.text("dir"), self.text("path"))
    }

    /// What `validate` says against it. Some templates are made to be checked from their repository's root, others from
    /// their own folder.
    fn errors(&self) -> Vec<String> {
        let path = self.root.join(self.text("path"));
        let (folder, name) = match path.is_dir() {
            true => (path.clone(), PathBuf::from(".")),
            false => (path.parent().unwrap().to_owned(), path.file_name().unwrap().into()),
        };
        let errors = self.errors_from(&self.root, Path::new(self.text("path")));
        if errors.is_empty() {
            errors
        } else {
            Some(self.errors_from(&folder, &name)).filter(Vec::is_empty).unwrap_or(errors)
        }
    }

    fn errors_from(&self, cwd: &Path, template: &Path) -> Vec<String> {
        std::env::set_current_dir(cwd).unwrap();
        let builders = self.names("builders");
        let local = |kind: &String| BuiltIn.schema(ComponentType::Builder, kind).is_some();
        let mixed = builders.iter().any(local) && !builders.iter().all(local);
        let only = if !mixed {
            Vec::new()
        } else if self.text("kind") == "hcl2" {
            builders
                .iter()
                .filter(|kind| local(kind))
                .flat_map(|kind| [format!("{kind}.*"), format!("*.{kind}.*")])
                .collect()
        } else {
            self.local_names()
        };
        let var_file = self.names("var_files").into_iter().map(|name| self.root.join(name)).find(|path| path.is_file());
        let given = var_file.as_ref().map(|path| std::fs::read_to_string(path).unwrap()).unwrap_or_default();
        let required = self.names("required_vars").into_iter().filter(|name| !given.contains(name.as_str()));
        let vars = required.map(|name| format!("{name}=dummy")).collect();
        let request = CheckRequest {
            template: template.to_owned(),
            text: None,
            cwd: cwd.to_owned(),
            environment: BTreeMap::from([("HOME".into(), "/root".into()), ("USER".into(), "user".into())]),
            vars,
            var_files: var_file.into_iter().collect(),
            only,
            except: Vec::new(),
            force: false,
            warn_on_undeclared_var: false,
            evaluate_data: false,
        };
        let checked = validate(&request, &self.root.join(".cache"), false);
        let errors = checked.problems.into_iter().filter(|problem| problem.is_error);
        let errors = errors.map(|problem| {
            let field = |name: &str| problem.json[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", field("summary"), field("detail"))
        });
        errors.filter(|text| !NOT_THE_TEMPLATE.iter().any(|start| text.starts_with(start))).collect()
    }

    /// Names of the builders of a JSON template that are here.
    fn local_names(&self) -> Vec<String> {
        let text = std::fs::read(self.root.join(self.text("path"))).unwrap();
        let template: Json = serde_json::from_slice(&text).unwrap_or_default();
        let builders = template["builders"].as_array().cloned().unwrap_or_default();
        let local = |builder: &&Json| {
            BuiltIn.schema(ComponentType::Builder, builder["type"].as_str().unwrap_or_default()).is_some()
        };
        let name = |builder: &Json| builder["name"].as_str().or(builder["type"].as_str()).unwrap().to_owned();
        builders.iter().filter(local).map(name).collect()
    }
}

/// Copies a folder; links, which the corpus holds as files with the link's target, become what they point to.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (source, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if source.is_dir() {
            copy(&source, &target);
            continue;
        }
        let bytes = std::fs::read(&source).unwrap();
        let link = std::str::from_utf8(&bytes).ok().filter(|text| text.len() < 200 && !text.contains('\n'));
        let link = link.filter(|text| !text.is_empty()).map(|text| from.join(text)).filter(|path| path.exists());
        match link {
            Some(path) if path.is_dir() => copy(&path, &target),
            Some(path) => std::fs::write(&target, std::fs::read(path).unwrap()).unwrap(),
            None => std::fs::write(&target, bytes).unwrap(),
        }
    }
}

#[test]
fn templates_are_judged_as_packer_judges_them() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let corpus = std::env::var_os("KILN_CORPUS").map_or(beside, PathBuf::from);
    let Ok(index) = std::fs::read(corpus.join("index.json")) else {
        // Not part of the project: its tests must pass without it wherever they run.
        eprintln!("ignored: needs the corpus in {}", corpus.display());
        return;
    };
    let index: Json = serde_json::from_slice(&index).unwrap();
    let work = tempfile::tempdir().unwrap();
    let (mut wrong, mut met, mut checked) = (Vec::new(), BTreeSet::new(), 0);
    for (number, json) in index.as_array().unwrap().iter().enumerate() {
        let Some(expect) = json["expect"].as_str() else { continue };
        let root = work.path().join(number.to_string());
        copy(&corpus.join("templates").join(json["dir"].as_str().unwrap()), &root);
        let entry = Entry { json, root };
        let path = entry.root.join(entry.text("path"));
        let files = entry.names("files");
        if path.is_dir() && !files.is_empty() {
            for other in std::fs::read_dir(&path).unwrap().map(|other| other.unwrap()) {
                let name = other.file_name().into_string().unwrap();
                if name.contains(".pkr.") && !files.contains(&name) {
                    std::fs::remove_file(other.path()).unwrap();
                }
            }
        }
        if expect == "valid-after-fix" {
            let fixed = fix(&std::fs::read_to_string(&path).unwrap()).unwrap();
            std::fs::write(&path, fixed).unwrap();
        }
        let reason = match expect {
            "invalid:duplicate-json-field" => Some("Duplicate"),
            "invalid-now:esxi-remote-options-were-removed" => Some("ESX servers are not supported"),
            text if text.starts_with("valid") => None,
            // Nobody says what a current Packer would answer.
            _ => continue,
        };
        checked += 1;
        let errors = entry.errors();
        let id = entry.id();
        let known: Vec<_> = DEVIATIONS.iter().filter(|(template, ..)| *template == id).collect();
        match reason {
            Some(reason) if !errors.iter().any(|error| error.contains(reason)) => {
                wrong.push(format!("{id} ({expect})\n    is not refused for {reason:?}: {errors:?}"));
            }
            Some(_) => {}
            None => {
                for error in &errors {
                    match known.iter().find(|(_, start, _)| error.starts_with(start)) {
                        Some(deviation) => drop(met.insert((deviation.0, deviation.1))),
                        None => wrong.push(format!("{id} ({expect})\n    {error:.300}")),
                    }
                }
            }
        }
    }
    std::env::set_current_dir("/").unwrap();
    for (template, start, _) in DEVIATIONS.iter().filter(|(template, start, _)| !met.contains(&(*template, *start))) {
        wrong.push(format!("{template}: {start:?} is no deviation any more; remove it"));
    }
    assert!(wrong.is_empty(), "{} complaints about {checked} templates:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 330, "only {checked} templates were checked");
}

/// Templates that are expected to be valid and are refused: the beginning of what is said, and why that is right.
const DEVIATIONS: &[(&str, &str, &str)] = &[];
