//! The rules of the tables that need more than a word: each says what is wrong, and returns nothing. What the options mean is read elsewhere ([`crate::sources`]), when nothing is wrong.

pub(crate) mod address;
pub(crate) mod amazon;
pub(crate) mod artifacts;
pub(crate) mod boot;
pub(crate) mod communicator;
mod credentials;
pub(crate) mod files;
pub(crate) mod guest_tools;
pub(crate) mod image;
pub(crate) mod programs;
pub(crate) mod provenance;
pub(crate) mod qemu;
pub(crate) mod scripts;
pub(crate) mod transfer;
pub(crate) mod vagrant;
