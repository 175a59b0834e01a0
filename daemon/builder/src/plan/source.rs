//! What one build's source will do, whichever builder it is of.

use serde::Serialize;

use super::file::FilePlan;
use super::null::NullPlan;
use super::qemu::QemuPlan;

/// What one build's source will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "builder", rename_all = "snake_case")]
pub(crate) enum SourcePlan {
    /// Only connects and provisions.
    Null(NullPlan),
    /// Writes a file.
    File(FilePlan),
    /// Runs a machine on QEMU.
    Qemu(Box<QemuPlan>),
    /// Of a builder that this version can check but not run; [`crate::unbuilt`] refuses to build it.
    Unbuilt,
}
