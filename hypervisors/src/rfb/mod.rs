//! A client of RFB, the protocol of VNC: types keys and takes pictures, for hypervisors that have no other keyboard.
//!
//! Versions 3.3 to 3.8 with no security or VNC's password. Whatever a server says is checked, capped and waited for only so long.

mod auth;
mod client;
mod error;
mod picture;
#[cfg(test)]
mod tests;

pub(crate) use client::RfbClient;
pub(crate) use error::RfbError;
pub(crate) use picture::capture;
