//! All end-to-end tests, in one binary. `layers` fails when a file here is forgotten.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod ansible;
mod api;
mod attested_images;
mod bad_input;
#[expect(dead_code, reason = "the tests of the post-processor, whose it is, use more of it")]
#[path = "../../daemon/builder/tests/runner/box_service.rs"]
mod box_service;
mod bridge;
mod build;
mod cancel;
mod console;
mod containers;
mod debian;
mod documents;
mod floods;
mod formats;
mod guest_agent;
mod guest_disks;
mod guests;
mod image_looks;
mod image_scripts;
mod images;
mod layers;
mod libvirt;
mod machines;
mod man_pages;
mod openssh;
mod packages;
mod registered_images;
mod side_by_side;
#[path = "../../daemon/builder/tests/runner/stand_in.rs"]
mod stand_in;
mod steps;
mod system_mode;
mod template_commands;
mod unreachable;
mod virtualbox;
mod vmware;
