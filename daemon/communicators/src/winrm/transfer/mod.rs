//! Files, through the standard streams of one PowerShell: `receive.ps1` takes them, `send.ps1` sends them, in the lines that are described
//! there. Packer's way is a process in the guest for each 8 KB.

mod download;
mod failed;
mod lines;
mod upload;

pub(crate) use download::download;

pub(crate) use failed::failed;
pub(crate) use upload::{Upload, upload};
