//! Owns [`Definition`]: one component's table, its rules, and whether this version can run it.

use kiln_template::{ComponentType, Schema};

use super::rule::Rule;
use crate::plan_reader::PlanReader;

/// Everything that is known about one component before it runs.
#[derive(Debug)]
pub(crate) struct Definition {
    /// What it is a kind of.
    pub(crate) component: ComponentType,
    /// Its options.
    pub(crate) schema: Schema,
    /// What must hold between them, in groups.
    pub(crate) rules: &'static [&'static [Rule]],
    /// What it does, in a sentence or two.
    pub(crate) about: &'static str,
    /// Whether this version can run it, not only check it.
    pub(crate) runs: bool,
}

impl Definition {
    /// Complains about every rule that the options break.
    pub(crate) fn check(&self, reader: &mut PlanReader<'_>) {
        self.rules.iter().copied().flatten().for_each(|rule| rule.check(reader));
    }
}
