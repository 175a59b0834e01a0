//! What a provisioner works with.

use std::sync::Arc;

use kiln_communicators::Communicator;

use crate::build_data::BuildData;
use crate::context::BuildContext;

/// One build's guest, and what is known of it.
#[derive(Clone)]
pub(crate) struct ProvisionContext {
    pub(crate) build: BuildContext,
    pub(crate) communicator: Arc<dyn Communicator>,
    pub(crate) data: Arc<BuildData>,
}
