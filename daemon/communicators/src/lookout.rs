//! What whoever runs a guest can see of its network from outside, which tells a communicator when trying is worth it.

use std::fmt;

use crate::communicator::BoxFuture;

/// Watches a guest's network. Implemented by whoever runs the machine; a communicator only looks.
pub trait Lookout: fmt::Debug + Send + Sync {
    /// What is seen right now.
    fn sight(&self) -> GuestSight;

    /// Waits until something else than `sight` is seen, and returns that. Pends for ever when nothing will change. Safe to drop.
    fn other_than(&self, sight: GuestSight) -> BoxFuture<'_, GuestSight>;
}

/// How far the network of a guest has come since the guest last started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestSight {
    /// Nothing can be seen.
    Unwatched,
    /// The guest has no address yet.
    Booting {
        /// How often it has restarted.
        restarts: u32,
        /// It has sent something: its network adapter works, and if its address is fixed it may never tell it.
        spoke: bool,
    },
    /// The guest has an address.
    Addressed {
        /// How often it has restarted.
        restarts: u32,
    },
}

impl GuestSight {
    /// How often the guest has restarted, as far as that is seen.
    pub(crate) fn restarts(self) -> Option<u32> {
        match self {
            Self::Unwatched => None,
            Self::Booting { restarts, .. } | Self::Addressed { restarts } => Some(restarts),
        }
    }
}
