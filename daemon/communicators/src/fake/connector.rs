//! Connects to a fake guest.

use std::sync::Arc;

use super::guest::FakeCommunicator;
use crate::communicator::{BoxFuture, Communicator};
use crate::config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::connector::Connector;
use crate::observer::ConnectObserver;

/// Connects to one fake guest at once, whatever the settings say. They say how long one that went away is waited for.
#[derive(Debug, Clone)]
pub struct FakeConnector(pub FakeCommunicator);

impl Connector for FakeConnector {
    fn connect<'a>(
        &'a self,
        config: &'a ConnectConfig,
        observer: Arc<dyn ConnectObserver>,
    ) -> BoxFuture<'a, Result<Arc<dyn Communicator>, ConnectError>> {
        Box::pin(async {
            let guest = FakeCommunicator { timeout: config.timeout(), observer, ..self.0.connect_again() };
            Ok(Arc::new(guest) as Arc<dyn Communicator>)
        })
    }
}
