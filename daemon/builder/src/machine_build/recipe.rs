//! What all phases of a build with a guest work with.

use super::builder::{GuestPlan, MachineBuilder};
use crate::backends::Backends;
use crate::built::PlannedBuild;
use crate::context::BuildContext;

/// One build with a guest.
pub(super) struct Recipe<'a> {
    /// The build's place in its job.
    pub(super) index: usize,
    pub(super) builder: &'a dyn MachineBuilder,
    pub(super) plan: GuestPlan<'a>,
    pub(super) planned: &'a PlannedBuild,
    pub(super) context: &'a BuildContext,
    pub(super) backends: &'a Backends,
}
