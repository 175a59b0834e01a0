//! What a build tells its provisioners and post-processors about itself: Packer's `build.*` values, as typed data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kiln_communicators::{CommunicatorKind, Secret};
use serde::{Deserialize, Serialize};

/// What is known of a running build. What is not known (yet), or what the builder does not have, is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct BuildData {
    /// `PackerRunUUID`: one for all builds of a job.
    pub run_uuid: String,
    /// `PackerBuildName`: the source's label.
    pub source_name: String,
    /// `PackerBuilderType`, such as `qemu`.
    pub source_type: String,
    /// `ID`: what names the machine, such as its process id.
    pub machine_id: Option<String>,
    /// Where the guest finds the job's HTTP server, when there is one.
    pub http: Option<HttpAddress>,
    /// How the guest is reached, once that is known.
    pub connection: Option<Connection>,
}

/// The HTTP server as the guest sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HttpAddress {
    /// `PackerHTTPIP`.
    pub host: String,
    /// `PackerHTTPPort`.
    pub port: u16,
}

/// How the guest is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Connection {
    /// Not at all.
    None,
    /// By SSH.
    Ssh(SshConnection),
    /// Through the guest's agent, which is at no address.
    GuestAgent,
    /// By WinRM.
    WinRm(WinRmConnection),
}

impl Connection {
    /// What the guest is spoken to with.
    pub(crate) fn kind(&self) -> CommunicatorKind {
        match self {
            Self::None => CommunicatorKind::None,
            Self::Ssh(_) => CommunicatorKind::Ssh,
            Self::GuestAgent => CommunicatorKind::GuestAgent,
            Self::WinRm(_) => CommunicatorKind::WinRm,
        }
    }
}

/// An SSH connection. Its secrets are not serialised: whoever needs them again has them from the plan or the key's file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SshConnection {
    /// `Host`.
    pub host: String,
    /// `Port`.
    pub port: u16,
    /// `User`.
    pub user: String,
    /// How it lets us in.
    #[serde(default)]
    pub login: SshLogin,
}

/// How a guest, or a host that is there already, lets us in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SshLogin {
    /// `Password`.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// `SSHAgentAuth`.
    pub agent: bool,
    /// `SSHPrivateKeyFile`, as the template names it.
    pub private_key_file: Option<String>,
    /// `SSHPublicKey` of the temporary key.
    pub public_key: Option<String>,
    /// `SSHPrivateKey` of the temporary key.
    #[serde(skip)]
    pub private_key: Option<Secret>,
}

/// What a build is made of, as far as its plan says it.
#[derive(Debug, Clone, Default)]
pub(crate) struct BuildInputs {
    /// The installer or disk: its URLs and its checksum.
    pub(crate) image: Option<(Vec<String>, String)>,
    /// Files and directories that provisioners and others name.
    pub(crate) files: Vec<PathBuf>,
    /// The SHA-256 of each of them when the build began, where that is asked for.
    pub(crate) digests: BTreeMap<PathBuf, String>,
}

/// A WinRM connection. Its password is not serialised: whoever needs it again has it from the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct WinRmConnection {
    /// `Host`.
    pub host: String,
    /// `Port`.
    pub port: u16,
    /// `User`.
    pub user: String,
    /// `WinRMPassword` and `Password`.
    #[serde(skip)]
    pub password: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_reads_back_without_its_secrets() {
        let login = SshLogin {
            password: Some(Secret::from("hunter2-hunter2")),
            agent: true,
            private_key_file: Some("id".to_owned()),
            public_key: Some("ssh-ed25519 AAAA".to_owned()),
            private_key: Some(Secret::from("-----BEGIN")),
        };
        let connection = |login| {
            Some(Connection::Ssh(SshConnection {
                host: "127.0.0.1".to_owned(),
                port: 2222,
                user: "root".to_owned(),
                login,
            }))
        };
        let data = BuildData {
            run_uuid: "run".to_owned(),
            source_name: "web".to_owned(),
            source_type: "qemu".to_owned(),
            machine_id: Some("17".to_owned()),
            http: Some(HttpAddress { host: "10.0.2.2".to_owned(), port: 8000 }),
            connection: connection(login.clone()),
        };
        let text = serde_json::to_string(&data).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("BEGIN"), "{text}");
        let read: BuildData = serde_json::from_str(&text).unwrap();
        let bare = SshLogin { password: None, private_key: None, ..login };
        assert_eq!(read, BuildData { connection: connection(bare), ..data });
    }
}
