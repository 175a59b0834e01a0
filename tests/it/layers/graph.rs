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

/// Which part of the crate needs which. The files of a top-level module are one part, but for what `apart` names.
pub(super) fn between_parts(imports: &Imports, apart: &[&str]) -> Needs<String> {
    let mut found = Needs::new();
    for (file, needed) in imports {
        let part = part_of(file, apart);
        let others = needed.keys().map(|file| part_of(file, apart)).filter(|other| *other != part);
        found.entry(part.clone()).or_default().extend(others.collect::<Vec<_>>());
    }
    found
}

/// The part that a file belongs to: the longest of `apart` (modules, as `qemu/spec`), else its top-level module.
pub(super) fn part_of(file: &Path, apart: &[&str]) -> String {
    let module = file.with_extension("");
    let module = if module.ends_with("mod") { module.parent().unwrap_or(&module) } else { &module };
    let named = apart.iter().filter(|part| module.starts_with(part)).max_by_key(|part| part.len());
    named.map_or_else(
        || module.iter().next().unwrap_or_default().to_string_lossy().into_owned(),
        |&part| part.to_owned(),
    )
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
