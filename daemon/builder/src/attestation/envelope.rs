//! The envelope: DSSE's JSON, and the bytes that are signed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::key::{KeyError, SigningKey, VerifyingKey};

/// The type of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A larger file is no envelope of ours: a statement has a line for a file.
pub const MAX_ENVELOPE: u64 = 16 << 20;

/// Most signatures that are looked at.
const MAX_SIGNATURES: usize = 64;

/// A payload with its signatures. What else stands in the JSON is not signed, and not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Entry>,
}

/// One of the signatures. Whoever adds another to an envelope cannot take from those that are there: what is not understood stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Entry {
    Known(Signature),
    Unknown(serde_json::Value),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    /// A hint which key it is of, not a proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
    /// The certificate of a signature without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cert: Option<String>,
}

impl Signature {
    fn is_keyless(&self) -> bool {
        self.cert.as_ref().is_some_and(|cert| !cert.is_empty())
    }
}

/// Why an envelope does not prove anything.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// It is not one.
    #[error("it is no DSSE envelope")]
    NotOne(#[source] serde_json::Error),
    /// It is a statement that nobody has signed.
    #[error("it is a statement that nobody has signed (signing_mode = \"none\")")]
    Unsigned,
    /// It holds something else.
    #[error("it holds {found:?}, not a statement of in-toto ({PAYLOAD_TYPE})")]
    OtherPayload {
        /// What it says that it holds.
        found: String,
    },
    /// It was signed without a key.
    #[error("it was signed keyless, by a certificate of Sigstore")]
    Keyless,
    /// There is nothing that could be verified.
    #[error("it has no signature")]
    NoSignature,
    /// There is more than anybody signs.
    #[error("it has {count} signatures, more than {MAX_SIGNATURES}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A text in it is not Base64.
    #[error("its {what} is not Base64")]
    NotBase64 {
        /// Which.
        what: &'static str,
        /// Why.
        source: base64::DecodeError,
    },
    /// No signature can be read.
    #[error("none of its signatures can be read: they are not Base64, or no signatures of DSSE")]
    NoReadableSignature,
    /// No signature is of this key.
    #[error("no signature in it is of this key{}", by(.keyids))]
    WrongKey {
        /// The keys that its signatures name.
        keyids: Vec<String>,
    },
}

fn by(keyids: &[String]) -> String {
    if keyids.is_empty() { String::new() } else { format!("; it names {}", keyids.join(", ")) }
}

impl Envelope {
    /// Signs `payload`.
    ///
    /// # Errors
    ///
    /// The key does not sign.
    pub fn sign(payload: &[u8], key: &SigningKey) -> Result<Self, KeyError> {
        let sig = STANDARD.encode(key.sign(&signed_bytes(PAYLOAD_TYPE, payload))?);
        Ok(Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![Entry::Known(Signature {
                keyid: Some(key.verifying().keyid().to_owned()),
                sig,
                cert: None,
            })],
        })
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// It is none, or one that a key cannot verify.
    pub fn read(json: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self = match serde_json::from_slice(json) {
            Ok(envelope) => envelope,
            Err(error) => {
                return Err(if is_statement(json) { EnvelopeError::Unsigned } else { EnvelopeError::NotOne(error) });
            }
        };
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::OtherPayload { found: envelope.payload_type });
        }
        match envelope.signatures.len() {
            0 => Err(EnvelopeError::NoSignature),
            count if count > MAX_SIGNATURES => Err(EnvelopeError::TooMany { count }),
            _ => Ok(envelope),
        }
    }

    /// The payload, when a signature of `key` is on it. Nothing of it is looked at before.
    ///
    /// # Errors
    ///
    /// None is.
    pub fn open(&self, key: &VerifyingKey) -> Result<Vec<u8>, EnvelopeError> {
        let payload = decode(&self.payload, "payload")?;
        let signed = signed_bytes(&self.payload_type, &payload);
        let known = || {
            self.signatures.iter().filter_map(|entry| match entry {
                Entry::Known(signature) => Some(signature),
                Entry::Unknown(_) => None,
            })
        };
        let readable: Vec<_> =
            known().filter_map(|signature| Some((signature, decode_text(&signature.sig)?))).collect();
        // DSSE: one that verifies is enough, whatever the others are.
        if readable.iter().any(|(_, bytes)| key.has_signed(&signed, bytes)) {
            return Ok(payload);
        }
        if readable.is_empty() && !known().any(Signature::is_keyless) {
            return Err(EnvelopeError::NoReadableSignature);
        }
        if known().all(Signature::is_keyless) {
            return Err(EnvelopeError::Keyless);
        }
        let keyids = known().filter_map(|signature| signature.keyid.clone()).filter(|id| !id.is_empty());
        Err(EnvelopeError::WrongKey { keyids: keyids.collect() })
    }

    /// As a file.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn is_statement(json: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(json).is_ok_and(|value| value.get("_type").is_some())
}

/// DSSE lets writers choose between both alphabets.
fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, EnvelopeError> {
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    decoded.map_err(|source| EnvelopeError::NotBase64 { what, source })
}

fn decode_text(text: &str) -> Option<Vec<u8>> {
    decode(text, "signature").ok()
}

/// DSSE's pre-authentication encoding: the type is signed too, and no two pairs have one encoding.
fn signed_bytes(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::{ED25519, P256, key};
    use super::*;

    #[test]
    fn what_is_signed_is_the_specifications_example() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(signed_bytes("http://example.com/HelloWorld", b"hello world"), expected);
    }

    #[test]
    fn a_signed_payload_comes_out_for_its_key_alone() {
        let signer = key(P256);
        let envelope = Envelope::sign(b"{}", &signer).unwrap();
        let read = Envelope::read(envelope.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(read.open(signer.verifying()).unwrap(), b"{}");
        let other = key(ED25519);
        let error = read.open(other.verifying()).unwrap_err().to_string();
        assert!(error.contains(signer.verifying().keyid()), "{error}");
    }

    #[test]
    fn whatever_is_changed_is_found() {
        let signer = key(ED25519);
        let envelope = Envelope::sign(b"{\"a\":1}", &signer).unwrap();
        let mut changed = envelope.clone();
        changed.payload = STANDARD.encode(b"{\"a\":2}");
        assert!(matches!(changed.open(signer.verifying()), Err(EnvelopeError::WrongKey { .. })));
        let mut changed = envelope.clone();
        changed.payload_type = "application/json".to_owned();
        assert!(matches!(changed.open(signer.verifying()), Err(EnvelopeError::WrongKey { .. })));
        let mut changed = envelope;
        changed.payload = "not base64!".to_owned();
        assert!(matches!(changed.open(signer.verifying()), Err(EnvelopeError::NotBase64 { .. })));
    }

    #[test]
    fn one_signature_that_verifies_is_enough_whatever_the_others_are() {
        let (signer, other) = (key(P256), key(ED25519));
        let signed = |by: &SigningKey| {
            let envelope: serde_json::Value =
                serde_json::from_str(&Envelope::sign(b"{}", by).unwrap().to_json().unwrap()).unwrap();
            envelope["signatures"][0].clone()
        };
        let with = |signatures: &[serde_json::Value]| {
            let envelope = serde_json::json!({
                "payloadType": PAYLOAD_TYPE, "payload": STANDARD.encode(b"{}"), "signatures": signatures,
            });
            Envelope::read(envelope.to_string().as_bytes()).unwrap().open(signer.verifying())
        };
        let mut certified = signed(&signer);
        certified["cert"] = "-----BEGIN CERTIFICATE-----".into();
        let strangers = [
            serde_json::json!({"keyid": "x", "sig": "not base64!"}),
            serde_json::json!({"keyid": null, "sig": STANDARD.encode(b"short"), "cert": null}),
            serde_json::json!({"sig": STANDARD.encode(b"of a certificate"), "cert": "x"}),
            serde_json::json!({"keyid": "x"}),
            serde_json::json!({"sig": 7}),
            serde_json::json!("x"),
            signed(&other),
        ];
        for stranger in &strangers {
            assert_eq!(with(&[stranger.clone(), signed(&signer)]).unwrap(), b"{}", "{stranger}");
            assert_eq!(with(&[signed(&signer), stranger.clone()]).unwrap(), b"{}", "{stranger}");
            assert!(with(std::slice::from_ref(stranger)).is_err(), "{stranger}");
        }
        assert!(matches!(with(&strangers), Err(EnvelopeError::WrongKey { .. })));
        assert!(matches!(with(&strangers[..1]), Err(EnvelopeError::NoReadableSignature)));
        assert!(matches!(with(&strangers[5..6]), Err(EnvelopeError::NoReadableSignature)));
        // Nobody has signed that there is a certificate.
        assert_eq!(with(&[certified]).unwrap(), b"{}");
    }

    #[test]
    fn what_is_no_envelope_is_named() {
        let told = |json: &str| Envelope::read(json.as_bytes()).unwrap_err().to_string();
        assert!(told("{\"_type\":\"https://in-toto.io/Statement/v1\"}").contains("nobody has signed"));
        assert!(told("[]").contains("no DSSE envelope"));
        assert!(told("").contains("no DSSE envelope"));
        let other = r#"{"payloadType":"text/plain","payload":"","signatures":[{"sig":""}]}"#;
        assert!(told(other).contains("text/plain"));
        let none = format!(r#"{{"payloadType":"{PAYLOAD_TYPE}","payload":"","signatures":[]}}"#);
        assert!(told(&none).contains("no signature"));
        let many = vec![r#"{"sig":""}"#; MAX_SIGNATURES + 1].join(",");
        let many = format!(r#"{{"payloadType":"{PAYLOAD_TYPE}","payload":"","signatures":[{many}]}}"#);
        assert!(told(&many).contains("65 signatures"));
        let keyless =
            format!(r#"{{"payloadType":"{PAYLOAD_TYPE}","payload":"","signatures":[{{"sig":"","cert":"x"}}]}}"#);
        let error = Envelope::read(keyless.as_bytes()).unwrap().open(key(P256).verifying()).unwrap_err();
        assert!(matches!(error, EnvelopeError::Keyless));
    }
}
