//! Loops and directions in what needs what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::imports::Imports;

/// What needs what, by name.
pub(super) type Needs<T> = BTreeMap<T, BTreeSet<T>>;

/// Which file needs which.
pub(super) fn between_files(imports: &Imports) -> Needs<PathBuf> {
    imports.iter().map(|(file, needed)| (file.clone(), needed.keys().cloned().collect())).collect()
}

/// Which top-level module needs which; `lib` and `main` are the roots themselves.
pub(super) fn between_modules(imports: &Imports) -> Needs<String> {
    let mut found = Needs::new();
    for (file, needed) in imports {
        let own = found.entry(top_level(file)).or_default();
        own.extend(needed.keys().map(|file| top_level(file)).filter(|other| *other != top_level(file)));
    }
    found
}

/// The module right below the root that a file belongs to.
pub(super) fn top_level(file: &Path) -> String {
    let first = file.iter().next().unwrap_or_default().to_string_lossy();
    first.strip_suffix(".rs").unwrap_or(&first).to_owned()
}

/// Groups whose members all need each other, by any number of steps.
pub(super) fn circles<T: Ord + Clone>(needs: &Needs<T>) -> Vec<BTreeSet<T>> {
    let reached: BTreeMap<&T, BTreeSet<&T>> = needs.keys().map(|start| (start, reachable(needs, start))).collect();
    let mut found: Vec<BTreeSet<T>> = Vec::new();
    for (&start, from_start) in &reached {
        if from_start.contains(start) && !found.iter().any(|circle| circle.contains(start)) {
            let members =
                from_start.iter().filter(|&&other| reached.get(other).is_some_and(|back| back.contains(start)));
            found.push(members.map(|&member| member.clone()).collect());
        }
    }
    found
}

fn reachable<'a, T: Ord>(needs: &'a Needs<T>, start: &T) -> BTreeSet<&'a T> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&T> = needs.get(start).into_iter().flatten().collect();
    while let Some(one) = next.pop() {
        if found.insert(one) {
            next.extend(needs.get(one).into_iter().flatten());
        }
    }
    found
}

/// An order in which everything comes after what it needs of the others; `None` where there is a loop.
pub(super) fn order<T: Ord + Clone>(needs: &Needs<T>) -> Option<Vec<T>> {
    let mut found: Vec<T> = Vec::new();
    while found.len() < needs.len() {
        let ready = |one: &&T| {
            !found.contains(one) && needs[*one].iter().all(|other| found.contains(other) || !needs.contains_key(other))
        };
        let next: Vec<T> = needs.keys().filter(ready).cloned().collect();
        if next.is_empty() {
            return None;
        }
        found.extend(next);
    }
    Some(found)
}
