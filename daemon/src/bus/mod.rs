//! The daemon on D-Bus: `org.kiln.Kiln1`, for desktop programs. Like the HTTP API it is a way to [`Jobs`](crate::jobs::Jobs), with the
//! caller that the bus names, and decides nothing itself.
//!
//! ```text
//! keeper ─► connection ─► dispatcher ─► served ─► Jobs (with the Caller of senders)
//!              ▲                          │ reads
//!              └── signals ◄── reporter ─► tree ◄── view ◄── Jobs::observe, told by ChangeWatch
//! ```
//!
//! Calls are dispatched here and not by zbus' object server: that one shows all properties of all objects to whoever asks for the managed
//! objects, while here each caller sees its own jobs. The tables of `interface.rs` take the place of its macros.

mod activity;
mod call;
mod dispatcher;
mod failure;
mod interface;
mod introspection;
mod keeper;
mod listeners;
mod log_text;
mod options;
mod pace;
mod place;
mod reporter;
mod senders;
mod served;
mod signals;
mod specification;
mod state;
mod streams;
mod tree;
mod turns;
mod value;
mod view;

pub(crate) use activity::Activity;
#[cfg(test)]
pub(crate) use interface::{Arguments, OF_THE_BUILDER};
pub(crate) use keeper::Bus;

/// Our name on the bus.
const NAME: &str = "org.kiln.Kiln1";
