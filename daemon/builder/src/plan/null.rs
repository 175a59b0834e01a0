//! What the null builder will do, as a plain value.

use serde::Serialize;

use super::communicator::CommunicatorPlan;

/// What the null builder will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NullPlan {
    /// How the machine is reached.
    pub communicator: CommunicatorPlan,
}
