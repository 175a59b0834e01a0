//! What `kiln` and `kilnd` say to each other: requests, answers and events of the HTTP/1.1 + JSON API.
//!
//! ```text
//! POST /v1/jobs (JobSubmission) ──► Job ──► GET /v1/jobs/{id}/events?after=N&follow=true ──► Event, Event, … JobFinished
//! ```
//!
//! The types are plain data: serde and JSON Schema, no I/O, no clock. The daemon's own types are different ones, so that
//! they may change freely; `daemon/src/jobs/wire.rs` and `daemon/src/engine.rs` convert. **When changing the API**: only add optional fields and new
//! event kinds. Clients skip event kinds that they do not know ([`EventBody::Unknown`]); anything else needs a `v2`.
//!
//! | Module | Holds |
//! |---|---|
//! | [`job`] | what is asked for ([`JobSubmission`]) and what became of it ([`Job`]) |
//! | [`event`] | the numbered events of a job |
//! | [`question`] | what a job asks, and answers |
//! | [`image`] | work on disk images: conversions, facts, checks |
//! | [`info`] | what this daemon is and can do |
//! | [`problem`] | errors (problem+json) |
//! | [`environment`] | the variables of the environment that are read |
//! | [`id`] | job identifiers |
//! | [`places`] | where the socket is, from the environment |
//! | [`step`] | the steps of a build |
//! | [`text`] | what texts for people are kept free of |
//! | [`validate`] | what `kilnd validate` reads and writes; not part of the HTTP API |

pub mod environment;
pub mod event;
pub mod id;
pub mod image;
pub mod info;
pub mod job;
pub mod places;
pub mod problem;
pub mod question;
pub mod registry;
pub mod step;
pub mod text;
pub mod validate;

pub use event::{Event, EventBody, Severity};
pub use id::{InvalidJobId, JobId};
pub use image::package::{NetworkCard, PackageFacts, PackagedDisk, PackagedMachine, PlacedDisk};
pub use image::result::{
    AttestationResult, AttestedFile, CheckFinding, CheckFindingKind, CheckResult, CompareResult, ConvertResult,
    ConvertedDisk, ImageFacts, ImageResult, MapExtent, SnapshotFacts, VerifiedFile, WrittenFile,
};
pub use image::{
    CheckRequest, CompareRequest, ConvertOutput, ConvertRequest, Digests, FormatOption, ImageSource, ImageTask,
    InfoRequest, MAX_IMAGE_ITEMS, MachineOptions, MapRequest, VerifyAttestationRequest, VerifyRequest,
};
pub use info::{HypervisorInfo, Info, ShutdownReport};
pub use job::{
    Artifact, Assignment, BuildState, BuildSummary, CancelMode, CancelRequest, Job, JobKind, JobList, JobOptions,
    JobState, JobSubmission, OnError, PlaceHolder,
};
pub use problem::{Problem, ProblemCode};
pub use question::{Answer, Choice, Question};
pub use registry::{RegisteredImage, RegistryReport, RegistryRequest};
pub use step::{StepPhase, StepState, StepSummary};
pub use text::{value_without_codes, without_codes};
pub use validate::{TemplateProblem, ValidateLine, ValidateReport, ValidateRequest};

/// Largest request body that the daemon reads, in bytes (1 MiB).
pub const MAX_REQUEST_BYTES: usize = 1 << 20;

/// Longest event line, in bytes (4 MiB); texts are cut by the writer long before.
pub const MAX_EVENT_BYTES: usize = 4 << 20;

/// Header that makes a submission repeatable: the same key and body give the same job.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// Header of a request on behalf of which a person may be asked for a password: `yes`.
pub const ALLOW_INTERACTION_HEADER: &str = "kiln-allow-interaction";

/// Media type of event streams, one JSON object a line. Empty lines are heartbeats.
pub const NDJSON: &str = "application/x-ndjson";
