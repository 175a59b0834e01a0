//! Which file of a crate needs which other: every name is followed, through re-exports, to the file that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::sources::{Module, Texts, modules};

/// For each file the files it needs, each with the names it takes from there.
pub(super) type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// All imports between the files of a crate, below each of its roots (`lib.rs`, `main.rs`).
pub(super) fn imports(texts: &Texts) -> Imports {
    let mut found = Imports::new();
    for root in ["lib.rs", "main.rs"] {
        if texts.contains_key(std::path::Path::new(root)) {
            Tree(modules(texts, root)).add_imports(&mut found);
        }
    }
    found
}

/// What a path leads to.
#[derive(Clone, Copy)]
enum Place {
    Module(usize),
    /// Something that is defined in this module.
    Item(usize),
}

struct Tree(Vec<Module>);

impl Tree {
    fn add_imports(&self, found: &mut Imports) {
        for (at, module) in self.0.iter().enumerate() {
            let own = found.entry(module.file.clone()).or_default();
            // A private `use` counts even where its name is not seen again: a trait is used by its methods.
            let used = module.imports.iter().filter(|import| !import.offered).map(|import| &import.path);
            for path in used.chain(&module.paths) {
                if let Some(Place::Item(owner)) = self.resolve(at, path, &mut Vec::new()) {
                    let file = &self.0[owner].file;
                    if *file != module.file {
                        let name = path.last().cloned().unwrap_or_default();
                        own.entry(file.clone()).or_default().insert(name);
                    }
                }
            }
        }
    }

    /// `None`: it is not of this crate.
    fn resolve(&self, from: usize, path: &[String], seen: &mut Vec<(usize, String)>) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let mut place = match first.as_str() {
            "crate" => Place::Module(0),
            "self" => Place::Module(from),
            "super" => Place::Module(self.0[from].parent?),
            name => self.look_up(from, name, seen)?,
        };
        for name in rest {
            let Place::Module(module) = place else { break };
            place = match name.as_str() {
                "super" => Place::Module(self.0[module].parent?),
                // A name that a macro makes belongs to the module where it is looked for.
                name => self.look_up(module, name, seen).unwrap_or(Place::Item(module)),
            };
        }
        Some(place)
    }

    fn look_up(&self, at: usize, name: &str, seen: &mut Vec<(usize, String)>) -> Option<Place> {
        let module = &self.0[at];
        if let Some(&child) = module.children.get(name) {
            return Some(Place::Module(child));
        }
        if module.defined.contains(name) {
            return Some(Place::Item(at));
        }
        let key = (at, name.to_owned());
        if seen.contains(&key) {
            return None;
        }
        seen.push(key);
        let named = module.imports.iter().filter(|import| import.name.as_deref() == Some(name));
        let found = named.map(|import| self.resolve(at, &import.path, seen)).find(Option::is_some).flatten();
        found.or_else(|| {
            module.imports.iter().filter(|import| import.name.is_none()).find_map(|import| {
                match self.resolve(at, &import.path, seen)? {
                    Place::Module(other) => self.look_up(other, name, seen),
                    Place::Item(_) => None,
                }
            })
        })
    }
}
