//! From a template to artifacts: plan every build, run its steps, clean up after it.
//!
//! ```text
//! JobRequest ─load→ Evaluated ─plan→ BuildPlan per build (a value; every problem is a Diagnostic, nothing is started)
//!                                        │
//!   run: prepare → bring up → provision[1..n] → finish → post-process[1..m]     written once for all builders (machine_build)
//!          │ each step is on the disk before it acts and after it (records), and races the cancel token;
//!          │ what it acquires goes on the clean-up stack and into the ledger
//!          └─► Events: all a client ever sees
//! ```
//!
//! The worker calls [`run_job`] once, in a process of its own whose working directory and environment are the
//! caller's. [`sweep`] gives back what a killed worker left; [`resume_job_with`] goes on where it ended.

mod abandon;
mod archive;
mod artifact;
mod atomic_file;
pub mod attestation;
mod attested_names;
mod backends;
mod blocking;
mod boot_command;
mod build_data;
mod build_inputs;
mod built;
mod catalog;
mod check;
mod cleanup;
mod component_pages;
pub mod connections;
mod context;
mod control;
#[cfg(test)]
mod corpus;
mod data_sources;
mod default_names;
mod disk_size;
mod error;
mod event;
mod export;
mod fetch;
mod generated;
mod home;
mod http_server;
mod image_registry;
mod job;
mod kept_inside;
mod ledger;
mod left_in_guest;
mod line_output;
mod local_processes;
mod lock_file;
mod machine_build;
mod noted_file;
mod option_values;
mod options;
mod plan;
mod plan_key;
mod plan_reader;
#[cfg(test)]
mod plan_tests;
mod post_processors;
mod provisioners;
pub mod records;
mod registrations;
pub mod regular_file;
mod resume;
mod run;
mod scripts;
mod sources;
mod step;
mod steps;
mod sweep;
mod temporary_file;
mod unbuilt;
mod unfinished;
mod verify_build;
mod way_in;

pub use backends::{Backends, HypervisorSummary, hypervisors};
pub use catalog::BuiltIn;
pub use check::{CheckRequest, KILN_CONFINED, Problem, Validation, Wanted, validate, validate_with};
pub use component_pages::component_pages;
pub use context::{EventSink, Fault, OnError};
pub use control::{Control, ControlError};
pub use event::Event;
pub use fetch::SERVICE_ENVIRONMENT;
pub use image_registry::{ListedImage, forget_image, forget_unusable_images, registered_images};
pub use job::{JobOutcome, JobRequest, resume_job_with, run_job, run_job_with};
pub use kept_inside::kept_inside;
pub use kiln_hypervisors::process_stat;
pub use kiln_hypervisors::registry::{ENVIRONMENT as HYPERVISOR_ENVIRONMENT, has_service_of_its_users};
pub use ledger::FILE_NAME as LEDGER_NAME;
pub use resume::Checkpoint;
pub use sweep::{Sweep, can_reach_a_service, forget_credentials, still_held, sweep, sweep_ended, sweep_with};
pub use unfinished::{Unfinished, write_whole};
