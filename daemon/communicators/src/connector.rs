//! Makes a communicator of any kind from its settings.

use std::sync::Arc;

use crate::communicator::{BoxFuture, Communicator};
use crate::config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::none::NoCommunicator;
use crate::observer::ConnectObserver;
use crate::{guest_agent, ssh, winrm};

/// Makes connections to guests. Dropping the future leaves nothing behind.
pub trait Connector: Send + Sync {
    /// Connects, waiting for the guest as long as `config` says.
    fn connect<'a>(
        &'a self,
        config: &'a ConnectConfig,
        observer: Arc<dyn ConnectObserver>,
    ) -> BoxFuture<'a, Result<Arc<dyn Communicator>, ConnectError>>;
}

/// Connects by what `config` names: the one table of the communicators that there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct GuestConnector;

impl Connector for GuestConnector {
    fn connect<'a>(
        &'a self,
        config: &'a ConnectConfig,
        observer: Arc<dyn ConnectObserver>,
    ) -> BoxFuture<'a, Result<Arc<dyn Communicator>, ConnectError>> {
        Box::pin(async move {
            let communicator: Arc<dyn Communicator> = match config {
                ConnectConfig::None => Arc::new(NoCommunicator),
                ConnectConfig::GuestAgent(config) => Arc::new(guest_agent::connect(config, observer).await?),
                ConnectConfig::Ssh(config) => Arc::new(ssh::connect(config, observer).await?),
                ConnectConfig::WinRm(config) => Arc::new(winrm::connect(config, observer).await?),
            };
            Ok(communicator)
        })
    }
}
