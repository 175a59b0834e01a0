//! Shows a communicator what the hypervisor sees of the guest's network.

use kiln_communicators::{BoxFuture, GuestSight, Lookout};
use kiln_hypervisors::NetworkSight;
use tokio::sync::watch;

/// A guest watched by its hypervisor.
#[derive(Debug)]
pub(crate) struct MachineLookout(pub(crate) watch::Receiver<NetworkSight>);

impl Lookout for MachineLookout {
    fn sight(&self) -> GuestSight {
        sight(&self.0.borrow())
    }

    fn other_than(&self, known: GuestSight) -> BoxFuture<'_, GuestSight> {
        let mut sights = self.0.clone();
        Box::pin(async move {
            let changed = sights.wait_for(|now| sight(now) != known).await.map(|now| sight(&now));
            match changed {
                Ok(now) => now,
                // The machine is gone.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

fn sight(network: &NetworkSight) -> GuestSight {
    let restarts = network.restarts;
    match network.address {
        Some(_) => GuestSight::Addressed { restarts },
        None if network.watching => GuestSight::Booting { restarts, spoke: network.spoke },
        None => GuestSight::Unwatched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_changes_is_passed_on() {
        let (sender, receiver) = watch::channel(NetworkSight::watched());
        let lookout = MachineLookout(receiver);
        let booting = GuestSight::Booting { restarts: 0, spoke: false };
        assert_eq!(lookout.sight(), booting);
        sender.send_modify(|seen| seen.address = Some([10, 0, 2, 15].into()));
        assert_eq!(lookout.other_than(booting).await, GuestSight::Addressed { restarts: 0 });
        sender.send_modify(|seen| *seen = seen.after_restart(false));
        assert_eq!(lookout.other_than(GuestSight::Addressed { restarts: 0 }).await, GuestSight::Unwatched);
    }
}
