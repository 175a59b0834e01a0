//! Follows what a running guest does on its network.

use std::sync::Arc;

use kiln_hypervisors::{Machine, NetworkSight};

use crate::context::BuildContext;

/// Begins the record of `machine`, which starts to run now, and follows its network until clean-up.
pub(crate) fn follow(machine: &dyn Machine, context: &BuildContext) {
    context.sightings.start();
    let Some(mut sights) = machine.watch_network() else { return };
    let sightings = Arc::clone(&context.sightings);
    let task = tokio::spawn(async move {
        let mut known = NetworkSight::watched();
        loop {
            let now = *sights.borrow_and_update();
            sightings.network(&known, &now);
            known = now;
            if sights.changed().await.is_err() {
                return;
            }
        }
    });
    context.on_cleanup("start", "stop watching the guest", move || async move {
        task.abort();
        Ok(())
    });
}
