//! The file provisioner: files and directories into the guest and out of it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_communicators::TransferProgress;

use super::context::ProvisionContext;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::option_values::OptionValues;

fn sources(options: OptionValues<'_>) -> Vec<String> {
    options.text("source").into_iter().chain(options.texts("sources")).collect()
}

pub(crate) async fn run(context: &ProvisionContext, options: OptionValues<'_>) -> Result<(), StepError> {
    let destination = options.given("destination").unwrap_or_default();
    if let Some(content) = options.given("content") {
        let destination =
            if destination.ends_with('/') { format!("{destination}pkr-file-content") } else { destination.to_owned() };
        context.build.say(format!("Uploading content => {destination}"));
        return Ok(context.communicator.upload_bytes(content.as_bytes(), &destination, 0o644).await?);
    }
    if options.text("direction").as_deref() == Some("download") {
        return download(context, &sources(options), destination).await;
    }
    for source in sources(options) {
        upload(context, &source, destination).await?;
    }
    Ok(())
}

async fn upload(context: &ProvisionContext, source: &str, destination: &str) -> Result<(), StepError> {
    context.build.say(format!("Uploading {source} => {destination}"));
    let progress = TransferReport::new(&context.build, format!("upload {source}"));
    let metadata = tokio::fs::metadata(source)
        .await
        .map_err(|error| StepError::new(format!("cannot read {source}")).with_source(error))?;
    if metadata.is_dir() {
        let directory = context.communicator.upload_directory(Path::new(source), destination, &progress);
        return Ok(directory.await?);
    }
    let destination = with_name(destination, source);
    Ok(context.communicator.upload_file(Path::new(source), &destination, None, &progress).await?)
}

async fn download(context: &ProvisionContext, sources: &[String], destination: &str) -> Result<(), StepError> {
    for source in sources {
        context.build.say(format!("Downloading {source} => {destination}"));
        let progress = TransferReport::new(&context.build, format!("download {source}"));
        if source.ends_with('/') || source.contains(['*', '?', '[']) {
            create_directories(Path::new(destination)).await?;
            let directory = context.communicator.download_directory(source, Path::new(destination), &progress);
            directory.await?;
            continue;
        }
        let destination = with_name(destination, source);
        let path = Path::new(&destination);
        if let Some(parent) = path.parent() {
            create_directories(parent).await?;
        }
        context.communicator.download_file(source, path, &progress).await?;
    }
    Ok(())
}

async fn create_directories(path: &Path) -> Result<(), StepError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    tokio::fs::create_dir_all(path)
        .await
        .map_err(|error| StepError::new(format!("cannot create {}", path.display())).with_source(error))
}

/// `destination`, with the name of `source` when it ends in a slash.
fn with_name(destination: &str, source: &str) -> String {
    if !destination.ends_with('/') {
        return destination.to_owned();
    }
    let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or(source);
    format!("{destination}{name}")
}

/// Adds up the files of a transfer and reports in steps worth a line in the event file.
struct TransferReport<'a> {
    build: &'a BuildContext,
    what: String,
    total: AtomicU64,
    done: AtomicU64,
}

/// A report for every this many bytes.
const REPORT_STEP: u64 = 4 << 20;

impl<'a> TransferReport<'a> {
    fn new(build: &'a BuildContext, what: String) -> Self {
        Self { build, what, total: AtomicU64::new(0), done: AtomicU64::new(0) }
    }
}

impl TransferProgress for TransferReport<'_> {
    fn file_started(&self, _name: &str, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    fn advanced(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        let done = before + bytes;
        if before / REPORT_STEP != done / REPORT_STEP {
            self.build.progress(&self.what, done, Some(self.total.load(Ordering::Relaxed)));
        }
    }
}
