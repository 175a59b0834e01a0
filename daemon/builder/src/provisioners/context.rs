//! What a provisioner works with.

use std::sync::Arc;

use kiln_communicators::{Communicator, CommunicatorKind};

use crate::build_data::{BuildData, Connection};
use crate::context::BuildContext;

/// One build's guest, and what is known of it.
#[derive(Clone)]
pub(crate) struct ProvisionContext {
    pub(crate) build: BuildContext,
    pub(crate) communicator: Arc<dyn Communicator>,
    pub(crate) data: Arc<BuildData>,
}

impl ProvisionContext {
    /// What the guest is spoken to with.
    pub(crate) fn communicator_kind(&self) -> CommunicatorKind {
        self.data.connection.as_ref().map_or(CommunicatorKind::None, Connection::kind)
    }
}
