//! What transfers do with the guest's files, which are a map.

use std::io;
use std::path::{Component, Path};

use super::guest::{FakeCommunicator, HOST};
use super::script::Call;
use crate::communicator::TransferProgress;
use crate::error::CommunicatorError;

impl FakeCommunicator {
    fn transfer(&self, operation: &str) -> Result<(), CommunicatorError> {
        let mut state = self.state();
        if state.failing_transfers > 0 {
            state.failing_transfers -= 1;
            return Err(CommunicatorError::Disconnected { host: HOST.to_owned(), operation: operation.into() });
        }
        Ok(())
    }

    pub(super) async fn upload(
        &self,
        content: Vec<u8>,
        destination: &str,
        mode: Option<u32>,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        self.begin(Call::Upload { destination: destination.to_owned(), content: content.clone(), mode }).await?;
        self.transfer("upload")?;
        tell(progress, destination, &content);
        self.state().files.insert(destination.to_owned(), content);
        Ok(())
    }

    pub(super) async fn upload_tree(
        &self,
        source: &Path,
        destination: &str,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let call = Call::UploadDirectory { source: source.display().to_string(), destination: destination.to_owned() };
        self.begin(call).await?;
        self.transfer("upload")?;
        let target = destination.trim_end_matches('/');
        let is_there = self.state().files.keys().any(|path| path.starts_with(&format!("{target}/")));
        if source.as_os_str().as_encoded_bytes().ends_with(b"/") || !is_there {
            return self.put_below(source, target, progress);
        }
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        self.put_below(source, &format!("{target}/{name}"), progress)
    }

    /// Puts the files below `directory` below `destination`, with their names from there on.
    fn put_below(
        &self,
        directory: &Path,
        destination: &str,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        for entry in std::fs::read_dir(directory).map_err(local("read", directory))? {
            let path = entry.map_err(local("read", directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let target = format!("{destination}/{name}");
            if path.is_dir() {
                self.put_below(&path, &target, progress)?;
            } else {
                let content = std::fs::read(&path).map_err(local("read", &path))?;
                tell(progress, &name, &content);
                self.state().files.insert(target, content);
            }
        }
        Ok(())
    }

    pub(super) async fn download(
        &self,
        source: &str,
        destination: &Path,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        self.begin(Call::Download { source: source.to_owned(), destination: destination.display().to_string() })
            .await?;
        self.transfer("download")?;
        let content = self.file(source).ok_or_else(|| not_there(source))?;
        tell(progress, source, &content);
        std::fs::write(destination, content).map_err(local("write", destination))
    }

    /// Puts the files below `source` into `destination`: with the directory's own name, unless `source` ends in `/*`.
    pub(super) async fn download_tree(
        &self,
        source: &str,
        destination: &Path,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        self.begin(Call::Download { source: source.to_owned(), destination: destination.display().to_string() })
            .await?;
        self.transfer("download")?;
        let (directory, target) = match source.strip_suffix("/*") {
            Some(directory) => (directory, destination.to_owned()),
            None => {
                let directory = source.trim_end_matches('/');
                (directory, destination.join(directory.rsplit('/').next().unwrap_or(directory)))
            }
        };
        let below = |(path, content): (&String, &Vec<u8>)| {
            let name = path.strip_prefix(directory)?.strip_prefix('/')?;
            Some((name.to_owned(), content.clone()))
        };
        let found: Vec<(String, Vec<u8>)> = self.state().files.iter().filter_map(below).collect();
        if found.is_empty() {
            return Err(not_there(source));
        }
        for (name, content) in found {
            let path = target.join(&name);
            if Path::new(&name).components().any(|part| !matches!(part, Component::Normal(_))) {
                return Err(CommunicatorError::HostileName { name, why: "leaves the directory" });
            }
            let parent = path.parent().unwrap_or(&target);
            std::fs::create_dir_all(parent).map_err(local("create", parent))?;
            tell(progress, &name, &content);
            std::fs::write(&path, content).map_err(local("write", &path))?;
        }
        Ok(())
    }
}

fn tell(progress: &dyn TransferProgress, name: &str, content: &[u8]) {
    progress.file_started(name, content.len() as u64);
    progress.advanced(content.len() as u64);
}

pub(super) fn local<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> CommunicatorError + 'a {
    move |source| CommunicatorError::Local { action, path: path.to_owned(), source }
}

fn not_there(path: &str) -> CommunicatorError {
    let message = "no such file or directory".to_owned();
    CommunicatorError::Remote { action: "send", path: path.to_owned(), message }
}
