//! Which file of a crate needs which other: every name is followed, through re-exports, to the file that defines it.
//!
//! What a file offers of its own children (`pub use`) is no need of its own; what it offers of others is.

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
            let mut need = |owner: usize, name: &str| {
                let file = &self.0[owner].file;
                if *file != module.file {
                    own.entry(file.clone()).or_default().insert(name.to_owned());
                }
            };
            // An import counts even where its name is not seen again: a trait is used by its methods.
            for import in &module.imports {
                let owner = match self.resolve(at, &import.path, &mut Vec::new()) {
                    Some(Place::Item(owner)) => owner,
                    // All of it, whichever names are used.
                    Some(Place::Module(owner)) if import.name.is_none() => owner,
                    _ => continue,
                };
                if !(import.offered && self.with_those_above(owner).any(|above| above == at)) {
                    need(owner, import.path.last().map_or("", String::as_str));
                }
            }
            for path in &module.paths {
                if let Some(Place::Item(owner)) = self.resolve(at, path, &mut Vec::new()) {
                    need(owner, path.last().map_or("", String::as_str));
                }
            }
        }
    }

    /// The module, its parent, and so on to the root.
    fn with_those_above(&self, module: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(module), |&at| self.0[at].parent)
    }

    /// The macro of this name that the modules above see and, without an import, everything below them.
    fn macro_above(&self, at: usize, name: &str) -> Option<Place> {
        self.with_those_above(at).find(|&above| self.0[above].macros.contains(name)).map(Place::Item)
    }

    /// `None`: it is not of this crate.
    fn resolve(&self, from: usize, path: &[String], seen: &mut Vec<(usize, String)>) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let mut place = match first.as_str() {
            "crate" => Place::Module(0),
            "self" => Place::Module(from),
            "super" => Place::Module(self.0[from].parent?),
            name => self.look_up(from, name, seen).or_else(|| self.macro_above(from, name))?,
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
