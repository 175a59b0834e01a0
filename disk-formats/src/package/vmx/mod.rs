//! VMX, the file of a VMware Workstation or Fusion machine: its lines, the machine that they describe, and the writer of a bundle.

mod document;
mod escape;
mod fit;
mod keys;
mod left_out;
mod of_machine;
mod to_machine;
pub(crate) mod writer;

pub use document::Vmx;
pub use fit::fit;
