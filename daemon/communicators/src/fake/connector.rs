//! Connects to a fake guest.

use std::sync::Arc;

use super::guest::FakeCommunicator;
use crate::communicator::{BoxFuture, Communicator};
use crate::config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::connector::Connector;
use crate::observer::ConnectObserver;

/// Connects to one fake guest at once, whatever the settings say.
#[derive(Debug, Clone)]
pub struct FakeConnector(pub FakeCommunicator);

impl Connector for FakeConnector {
    fn connect<'a>(
        &'a self,
        _config: &'a ConnectConfig,
        _observer: Arc<dyn ConnectObserver>,
    ) -> BoxFuture<'a, Result<Arc<dyn Communicator>, ConnectError>> {
        Box::pin(async { Ok(Arc::new(self.0.connect_again()) as Arc<dyn Communicator>) })
    }
}
