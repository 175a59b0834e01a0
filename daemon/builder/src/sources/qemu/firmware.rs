//! The UEFI variables of a machine, which the guest may change.

use std::path::PathBuf;

use crate::error::StepError;
use crate::plan::{FirmwarePlan, QemuPlan};

/// The UEFI variables' file in the output directory; Packer's name.
pub(super) const EFI_VARS_NAME: &str = "efivars.fd";

/// Where the UEFI variables of the machine are, when it has any.
pub(super) fn efi_vars(plan: &QemuPlan) -> Option<PathBuf> {
    matches!(plan.machine.firmware, FirmwarePlan::Efi { .. }).then(|| plan.output_directory.join(EFI_VARS_NAME))
}

/// Copies the UEFI variables into the output directory, where the guest may change them.
pub(super) async fn copy_efi_vars(plan: &QemuPlan) -> Result<(), StepError> {
    let (FirmwarePlan::Efi { vars, .. }, Some(target)) = (&plan.machine.firmware, efi_vars(plan)) else {
        return Ok(());
    };
    tokio::fs::copy(vars, &target).await.map(drop).map_err(|error| {
        StepError::new(format!("cannot copy {} to {}", vars.display(), target.display())).with_source(error)
    })
}
