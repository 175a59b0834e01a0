//! The SSH communicator against real servers: OpenSSH and dropbear on loopback, and russh's own server where a server
//! must misbehave or know a password.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod algorithms;
mod auth;
mod conformance;
mod connect;
mod dropped;
mod execute;
mod failures;
mod guest_agent;
mod lying_agents;
mod routes;
mod scripted_server;
mod servers;
mod transfer;
mod winrm;
