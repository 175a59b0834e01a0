//! What a user of the crate sees: templates go in, builds and complaints come out.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod bounds;
mod builds;
mod corpus;
mod diagnostics;
mod disclosure;
mod hostile;
mod legacy;
mod mistakes;
mod surroundings;
mod upgrade;
mod values;
mod variables;
