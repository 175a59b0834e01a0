//! Names of what Kiln makes in the guest for a while.

use super::failure::Failure;

/// A name that nobody else thinks of.
pub(super) fn token() -> Result<String, Failure> {
    let mut bytes = [0_u8; 12];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::Lost("this machine has no random numbers".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
