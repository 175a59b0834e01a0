//! How attestations are signed, by the options: not at all, or with a key in a file.

use std::path::{Path, PathBuf};

use crate::attestation::{SigningKey, VerifyingKey};
use crate::blocking::blocking;
use crate::error::StepError;
use crate::option_values::OptionValues;

/// The words of `signing_mode` that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    None,
    Key,
    Kms,
    Keyless,
}

impl Mode {
    /// Packer's words.
    pub(crate) const WORDS: [&str; 4] = ["none", "key", "kms", "keyless"];

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "key" => Self::Key,
            "kms" => Self::Kms,
            "keyless" => Self::Keyless,
            _ => return None,
        })
    }

    /// Why it is not to be had here, and what is.
    pub(crate) fn why_not(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None | Self::Key => None,
            Self::Kms => Some((
                "signing_mode = \"kms\" has a key management service sign, and Kiln speaks to none: it signs on this machine only.",
                "sign with a key in a file (signing_mode = \"key\"), or have a program that reaches the service sign what \
                 signing_mode = \"none\" writes",
            )),
            Self::Keyless => Some((
                "signing_mode = \"keyless\" has Sigstore's services vouch for who signs and tell the world, and Kiln speaks to none: it \
                 signs on this machine only.",
                "sign with a key in a file (signing_mode = \"key\"), or have `cosign attest-blob` sign what signing_mode = \"none\" writes",
            )),
        }
    }
}

/// What is wrong with `signer` and `key`, which are two names of one thing.
pub(crate) fn complaint(mode: Mode, signer: Option<&str>, key: Option<&str>) -> Option<&'static str> {
    match (signer, key) {
        (Some(signer), Some(key)) if signer != key => Some("signer and key must match when both are set."),
        (None, None) if mode == Mode::Key => Some("signing_mode \"key\" requires signer or key."),
        _ => None,
    }
}

/// The key that signs, and the one that others verify by when the template names it.
pub(super) struct Keys {
    pub(super) signer: SigningKey,
    pub(super) verifier: Option<VerifyingKey>,
}

/// Reads the keys; there are none when nothing is signed.
pub(super) async fn key(options: OptionValues<'_>) -> Result<Option<Keys>, StepError> {
    let word = options.text("signing_mode").unwrap_or_default();
    let mode = Mode::from_word(&word).unwrap_or(Mode::None);
    if let Some((why, instead)) = mode.why_not() {
        return Err(StepError::new(why).with_hint(instead));
    }
    let (signer, key) = (options.given("signer"), options.given("key"));
    if let Some(complaint) = complaint(mode, signer, key) {
        return Err(StepError::new(complaint));
    }
    let Some(signer) = signer.or(key).filter(|_| mode == Mode::Key).map(PathBuf::from) else { return Ok(None) };
    let verifier = options.given("verifier").map(PathBuf::from);
    // A file may be a pipe that is filled by a program.
    let keys = blocking("reading a key", move |_| read(&signer, verifier.as_deref())).await?;
    Ok(Some(keys))
}

fn read(signer: &Path, verifier: Option<&Path>) -> Result<Keys, StepError> {
    let wrong = |error: crate::attestation::KeyError| {
        let hint = error.hint();
        StepError::wrap(error).with_hint_maybe(hint)
    };
    let signer = SigningKey::load(signer).map_err(wrong)?;
    let verifier = verifier.map(VerifyingKey::load).transpose().map_err(wrong)?;
    Ok(Keys { signer, verifier })
}
