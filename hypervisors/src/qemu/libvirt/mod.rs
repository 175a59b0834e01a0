//! QEMU through libvirt: the machine that the command line describes, as a transient domain (feature `libvirt`).
//!
//! | module        | owns                                                              |
//! |---------------|-------------------------------------------------------------------|
//! | `connection`  | the calls to libvirt, each on a thread of its own with a limit    |
//! | `domain`      | a machine as domain XML                                           |
//! | `disks`       | its disks, CD-ROM drives and floppy                               |
//! | `switches`    | what of the command line the XML has to say                       |
//! | `xml`         | elements, and how they are written                                |
//! | `launcher`    | from a spec to a paused domain that is connected                  |
//! | `process`     | the domain as the process that is a machine                       |
//!
//! What libvirt keeps books of is said in its own words: processors, memory, firmware, boot order, disks. All else, and all that a template's
//! `qemuargs` say, is handed to QEMU by libvirt as it stands (`qemu:commandline`), with sockets of ours instead of inherited descriptors; so a
//! machine is typed to, seen and ended as one that is our child. The domain is never defined, and is destroyed when the connection closes:
//! nothing of it outlives this process, and what the ledger names is destroyed by its UUID alone.

mod connection;
mod disks;
mod domain;
mod launcher;
mod process;
mod switches;
#[cfg(test)]
mod tests;
mod xml;

pub(super) use connection::{DomainId, connect_problem, give_back};
pub(super) use launcher::{LibvirtLauncher, complaints};
