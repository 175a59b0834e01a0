//! Runs one provisioner of a template on a fake guest, for the tests beside each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kiln_communicators::Secret;
use kiln_communicators::fake::{Call, FakeCommunicator};
use kiln_template::{DataMode, Inputs, MemoryFiles, Provisioner, load_with};

use super::ProvisionContext;
use crate::build_data::{BuildData, Connection, HttpAddress, SshConnection, SshLogin};
use crate::catalog::BuiltIn;
use crate::context::tests::a_build_told;
use crate::error::StepError;
use crate::event::Event;

/// What came of it.
pub(super) struct Ran {
    pub(super) result: Result<(), StepError>,
    /// All lines for people, in order.
    pub(super) said: Vec<String>,
    /// The job's ledger.
    pub(super) ledger: String,
}

/// Runs the provisioner `kind` with the options in `body` on `guest`.
pub(super) async fn run(kind: &str, body: &str, guest: &FakeCommunicator) -> Ran {
    let provisioner = provisioner(kind, body);
    let said = Arc::new(Mutex::new(Vec::new()));
    let sink = said.clone();
    let (build, job) = a_build_told(
        &[],
        Arc::new(move |event| match event {
            Event::Say { text, .. } | Event::Message { text, .. } | Event::Error { text, .. } => {
                sink.lock().unwrap().push(text);
            }
            _ => {}
        }),
    );
    let context = ProvisionContext { build, communicator: Arc::new(guest.clone()), data: Arc::new(data()) };
    let result = super::run_kind(&context, &provisioner).await;
    let said = std::mem::take(&mut *said.lock().unwrap());
    let ledger = std::fs::read_to_string(job.path().join(crate::ledger::FILE_NAME)).unwrap();
    Ran { result, said, ledger }
}

/// What the build `qemu.web` knows of itself.
pub(super) fn data() -> BuildData {
    BuildData {
        run_uuid: "run".to_owned(),
        source_name: "web".to_owned(),
        source_type: "qemu".to_owned(),
        machine_id: Some("17".to_owned()),
        http: Some(HttpAddress { host: "10.0.2.2".to_owned(), port: 8123 }),
        connection: Some(Connection::Ssh(SshConnection {
            host: "127.0.0.1".to_owned(),
            port: 2222,
            user: "root".to_owned(),
            login: SshLogin { private_key: Some(Secret::from("A KEY\n")), ..SshLogin::default() },
        })),
    }
}

fn provisioner(kind: &str, body: &str) -> Provisioner {
    let text = format!(
        "source \"null\" \"web\" {{\n  ssh_host = \"h\"\n  ssh_username = \"u\"\n  ssh_password = \"p\"\n}}\nbuild {{\n  \
         sources = [\"null.web\"]\n  provisioner \"{kind}\" {{\n{body}\n  }}\n}}\n"
    );
    let cwd = PathBuf::from("/t");
    let inputs = Inputs {
        path: "t.pkr.hcl".into(),
        cwd: cwd.clone(),
        vars: Vec::new(),
        var_files: Vec::new(),
        env: BTreeMap::new(),
        only: Vec::new(),
        except: Vec::new(),
        now: jiff::Timestamp::UNIX_EPOCH,
        warn_on_undeclared_var: false,
    };
    let files = MemoryFiles::new().with(cwd.join("t.pkr.hcl"), text.as_bytes());
    let loaded = load_with(&inputs, Arc::new(files), &BuiltIn, DataMode::Unknown);
    let problems: Vec<String> = loaded.diagnostics.iter().map(|problem| problem.summary.clone()).collect();
    let evaluated = loaded.evaluated.unwrap_or_else(|| panic!("{problems:?} in\n{text}"));
    evaluated.builds[0].provisioners[0].clone()
}

/// What was uploaded to `path` last, as text.
pub(super) fn uploaded(guest: &FakeCommunicator, path: &str) -> String {
    let found = guest.calls().into_iter().rev().find_map(|call| match call {
        Call::Upload { destination, content, .. } if destination == path => Some(content),
        _ => None,
    });
    let content = found.unwrap_or_else(|| panic!("nothing went to {path}: {:?}", guest.calls()));
    String::from_utf8(content).unwrap()
}

/// Where directories went, each with where it came from.
pub(super) fn uploaded_directories(guest: &FakeCommunicator) -> Vec<(String, String)> {
    let calls = guest.calls().into_iter().filter_map(|call| match call {
        Call::UploadDirectory { source, destination } => Some((source, destination)),
        _ => None,
    });
    calls.collect()
}

/// Writes files below a directory of their own.
pub(super) fn files(list: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in list {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}
