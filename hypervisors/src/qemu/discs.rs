//! CDs that QEMU reads from a server while the guest runs: put into their drives over the monitor before the guest has run.
//!
//! QEMU asks the server itself, and reads parts of the file as the guest wants them.

use std::path::Path;

use qapi_qmp::{BlockdevChangeReadOnlyMode, blockdev_change_medium};

use super::arguments::is_dmg;
use super::machine_spec::QemuMachineSpec;
use super::overrides::Overrides;
use super::probe::{ProbeError, Prober};
use super::qmp::QmpClient;
use crate::error::{MachineError, StartError, Unsupported};

/// The option with which templates ask for it.
const SETTING: &str = "iso_skip_cache";

/// What to do where QEMU cannot.
const HINT: &str = "on Debian, install the package qemu-block-extra; or remove iso_skip_cache";

/// Puts the discs that are no files into their drives.
///
/// # Errors
///
/// QEMU cannot read one of them.
pub(super) async fn insert(qmp: &QmpClient, spec: QemuMachineSpec<'_>) -> Result<(), StartError> {
    // A template's own drives replace all that options make.
    if Overrides::new(&spec.qemu.arguments).has("-drive") {
        return Ok(());
    }
    for (index, cdrom) in spec.hardware.cdroms.iter().enumerate() {
        let Some(url) = cdrom.url() else { continue };
        #[expect(deprecated, reason = "drives that QEMU makes a device for have no other name")]
        let change = blockdev_change_medium {
            device: Some(format!("cdrom{index}")),
            force: None,
            format: (!is_dmg(cdrom)).then(|| "raw".to_owned()),
            id: None,
            read_only_mode: Some(BlockdevChangeReadOnlyMode::read_only),
            filename: url.to_owned(),
        };
        qmp.run(change).await.map_err(refused)?;
    }
    Ok(())
}

/// QEMU's words have no URL in them.
fn refused(error: MachineError) -> StartError {
    match error {
        MachineError::Refused { message, .. } => StartError::Refused {
            command: "having QEMU read the CD from its server".to_owned(),
            problem: message,
            hint: Some("remove iso_skip_cache, and the file is downloaded first".to_owned()),
        },
        other => StartError::Setup(other),
    }
}

/// What is wrong where a disc is no file and `program` reads no others: its block driver is a module in a package of its own.
pub(super) async fn complaint(
    spec: QemuMachineSpec<'_>,
    program: &Path,
    prober: &Prober,
) -> Result<Option<Unsupported>, ProbeError> {
    if !spec.hardware.cdroms.iter().any(|cdrom| cdrom.url().is_some()) || prober.reads_urls(program).await? {
        return Ok(None);
    }
    let problem =
        format!("{} has no block driver for http and https, so it cannot read the CD by itself", spec.qemu.binary);
    Ok(Some(Unsupported { setting: SETTING, problem, hint: Some(HINT.to_owned()) }))
}
