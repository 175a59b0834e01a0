//! What a user of the crate sees: templates go in, builds and complaints come out.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod bounds;
mod corpus;
mod diagnostics;
mod disclosure;
mod hostile;
mod surroundings;
mod upgrade;
mod variables;
