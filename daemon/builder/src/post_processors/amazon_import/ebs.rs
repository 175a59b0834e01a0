//! The EBS direct APIs: a snapshot is begun, its blocks are put, and it is completed with a checksum of all their checksums.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::image::Image;
use super::service::{Ask, Service};
use super::sigv4::hex;
use crate::context::BuildContext;
use crate::error::StepError;

/// The size of a block, which AWS prescribes.
pub(super) const BLOCK: usize = 512 << 10;

/// Minutes that AWS waits for the next block before it gives the snapshot up.
const TIMEOUT_MINUTES: u64 = 60;

const LENGTH: HeaderName = HeaderName::from_static("x-amz-data-length");
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum");
const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const AGGREGATION: HeaderName = HeaderName::from_static("x-amz-checksum-aggregation-method");
const CHANGED: HeaderName = HeaderName::from_static("x-amz-changedblockscount");

/// The service.
pub(super) struct Ebs {
    service: Service,
    tries: u32,
}

/// A snapshot that has been begun.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) id: String,
}

/// A block with something in it.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) index: u64,
    pub(super) bytes: Bytes,
    pub(super) digest: [u8; 32],
}

impl Ebs {
    pub(super) fn new(service: Service, tries: u32) -> Self {
        Self { service, tries }
    }

    /// The same, over another connection.
    pub(super) fn another(&self) -> Self {
        Self { service: self.service.another(), tries: self.tries }
    }

    /// Puts a block. AWS compares what has arrived with the digest; so do we with what AWS says.
    pub(super) async fn put(&mut self, snapshot: &Snapshot, block: &Block) -> Result<(), StepError> {
        let checksum = STANDARD.encode(block.digest);
        let ask = Ask {
            method: Method::PUT,
            path: format!("/snapshots/{}/blocks/{}", snapshot.id, block.index),
            headers: vec![
                (LENGTH, HeaderValue::from(BLOCK)),
                (CHECKSUM, text(&checksum)?),
                (CHECKSUM_ALGORITHM, HeaderValue::from_static("SHA256")),
                (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            ],
            body: block.bytes.clone(),
            body_digest: hex(&block.digest),
            repeatable: true,
        };
        let reply = self.service.ask(&ask, self.tries).await?;
        match reply.headers.get(CHECKSUM).and_then(|value| value.to_str().ok()) {
            Some(told) if told != checksum => Err(StepError::new(format!(
                "AWS has another block {} than was sent: {told}, not {checksum}",
                block.index
            ))),
            _ => Ok(()),
        }
    }

    /// Completes a snapshot of `count` blocks. `digests` is what has seen all their digests in order.
    pub(super) async fn complete(&mut self, snapshot: &Snapshot, count: u64, digests: Sha256) -> Result<(), StepError> {
        let ask = Ask {
            method: Method::POST,
            path: format!("/snapshots/completion/{}", snapshot.id),
            headers: vec![
                (CHANGED, HeaderValue::from(count)),
                (CHECKSUM, text(&STANDARD.encode(digests.finalize()))?),
                (CHECKSUM_ALGORITHM, HeaderValue::from_static("SHA256")),
                (AGGREGATION, HeaderValue::from_static("LINEAR")),
            ],
            body: Bytes::new(),
            body_digest: hex(&Sha256::digest(b"")),
            repeatable: true,
        };
        self.service.ask(&ask, self.tries).await.map(drop)
    }
}

impl Ebs {
    /// Whether AWS has refused what it was asked for last: then it has not done it.
    pub(super) fn has_refused(&self) -> bool {
        self.service.has_refused()
    }

    /// Begins a snapshot for the image.
    pub(super) async fn start(
        &mut self,
        build: &BuildContext,
        image: &Image,
        description: &str,
    ) -> Result<Snapshot, StepError> {
        let mut wanted = json!({
            "VolumeSize": image.volume_size,
            "Description": description,
            // Asked twice, there is one.
            "ClientToken": uuid::Uuid::new_v4().to_string(),
            "Timeout": TIMEOUT_MINUTES,
        });
        let tags: Vec<Json> = image.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        if !tags.is_empty() {
            wanted["Tags"] = tags.into();
        }
        if image.encrypted {
            wanted["Encrypted"] = true.into();
            if let Some(key) = &image.kms_key {
                wanted["KmsKeyArn"] = key.as_str().into();
            }
        }
        let body = wanted.to_string();
        let ask = Ask {
            method: Method::POST,
            path: "/snapshots".to_owned(),
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body_digest: hex(&Sha256::digest(&body)),
            body: Bytes::from(body),
            repeatable: true,
        };
        let reply = self.service.ask(&ask, self.tries).await?;
        let json: Json = serde_json::from_slice(&reply.body).unwrap_or_default();
        let id = json["SnapshotId"].as_str().filter(|id| is_id(id)).ok_or_else(|| {
            StepError::new("AWS has begun a snapshot and does not say which")
                .with_hint("`aws ec2 describe-snapshots --owner-ids self` lists them")
        })?;
        build.say(format!("Snapshot {id} has been begun, of {} GiB", image.volume_size));
        Ok(Snapshot { id: id.to_owned() })
    }
}

/// An id becomes part of a path.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn text(value: &str) -> Result<HeaderValue, StepError> {
    HeaderValue::from_str(value).map_err(StepError::wrap)
}
