//! What every builder with a guest plans: the image, how the guest gets its files, what is typed, how it is shut down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::http_server::AddressFamily;

/// The image to fetch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ImagePlan {
    /// Paths or URLs, tried in order.
    pub urls: Vec<String>,
    /// `iso_checksum` as written.
    pub checksum: String,
    /// Where a download is kept, when said.
    pub target_path: Option<PathBuf>,
    /// Its extension in the cache.
    pub extension: String,
    /// It is not fetched: the hypervisor reads it where it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_cache: bool,
    /// What it is, of an image that a guest has written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<WrittenImage>,
}

/// An image that a guest has written. What it is comes from whoever gave it to the guest, and is not looked for in it: a guest puts what it
/// likes at the start of a raw disk, also the header of an image that names this machine's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WrittenImage {
    Raw,
    /// qcow2 that names no other file.
    Qcow2,
    /// qcow2 over what its build was made of.
    Overlay,
}

/// Where a build's files go.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutputPlan {
    /// Into this directory.
    Directory(PathBuf),
    /// There are none: the directory that the template names is left alone.
    NoFiles(PathBuf),
}

impl OutputPlan {
    /// The directory as the template names it.
    pub(crate) fn named(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::NoFiles(path) => path,
        }
    }
}

/// The HTTP server for the guest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HttpPlan {
    /// Served directory.
    pub directory: Option<PathBuf>,
    /// Served texts by path.
    pub content: BTreeMap<String, String>,
    /// Lowest port.
    pub port_min: u16,
    /// Highest port.
    pub port_max: u16,
    /// Listening address; `None`: where guests find the host.
    pub bind: Option<String>,
    /// The family of addresses that it listens on.
    pub family: AddressFamily,
}

/// A floppy or CD made of files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MediaPlan {
    /// Files and globs.
    pub files: Vec<String>,
    /// Directories with their tree (floppy only).
    pub directories: Vec<String>,
    /// Texts by file name.
    pub content: BTreeMap<String, String>,
    /// Volume label.
    pub label: String,
}

/// What is typed at the guest's boot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BootPlan {
    /// Before the first key.
    pub wait: Duration,
    /// Commands as written (rendered when the HTTP port is known), each with what it is for.
    pub commands: Vec<(String, Option<String>)>,
    /// Pause after each key; `None`: as fast as the guest reads them.
    pub key_interval: Option<Duration>,
}

/// How the guest is shut down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ShutdownPlan {
    /// What is run in the guest; `None`: power off hard.
    pub command: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// What makes the guest shut down.
    #[serde(skip_serializing_if = "ShutdownWay::is_command")]
    pub way: ShutdownWay,
    /// How long to wait when it is off, before anything is done with it.
    #[serde(skip_serializing_if = "Duration::is_zero")]
    pub delay: Duration,
}

/// What makes a guest shut down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShutdownWay {
    /// The command.
    #[default]
    Command,
    /// The command; a guest that nobody speaks to, and that has none, is powered off, as Packer does it with all but QEMU's guests.
    CommandOrPowerOff,
    /// The power button.
    PowerButton,
    /// Nothing: it does so by itself.
    ByItself,
}

impl ShutdownPlan {
    /// Whether the build ends a guest that nobody speaks to, so that only `boot_wait` gives it time.
    pub(crate) fn ends_unseen_guest(&self) -> bool {
        match self.way {
            ShutdownWay::PowerButton => true,
            ShutdownWay::CommandOrPowerOff => self.command.is_none(),
            ShutdownWay::Command | ShutdownWay::ByItself => false,
        }
    }
}

impl ShutdownWay {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    fn is_command(&self) -> bool {
        *self == Self::Command
    }
}
