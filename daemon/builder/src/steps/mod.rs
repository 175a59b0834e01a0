//! The steps that builders with a guest are made of. Each takes what it needs and returns what it made.

pub(crate) mod access;
pub(crate) mod boot;
pub(crate) mod clear_key;
pub(crate) mod connect;
pub(crate) mod endpoint;
pub(crate) mod evidence;
pub(crate) mod follow;
pub(crate) mod image;
pub(crate) mod lookout;
pub(crate) mod media;
pub(crate) mod output_directory;
pub(crate) mod processor;
pub(crate) mod provision;
pub(crate) mod serve;
pub(crate) mod shut_down;
pub(crate) mod sightings;
mod ssh_access;
pub(crate) mod unreachable;
mod winrm_access;
