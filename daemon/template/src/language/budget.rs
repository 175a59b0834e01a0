//! Owns [`Budget`]: how much work the expressions of one template may cause. A few lines can ask for more than any machine
//! can do: nested `for` expressions, values made of shared parts, passwords that are hashed for days.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};

/// Steps that any template may take. A step is the evaluation of one part of an expression, or the work of about a
/// microsecond inside a function.
const BASE: u64 = 500_000;
/// Steps for each byte of the template.
const PER_BYTE: u64 = 50;
/// Steps that no template may exceed: some seconds.
const MOST: u64 = 4_000_000;
/// Values in a value, or 64 bytes of text each.
pub(crate) const MAX_WEIGHT: u32 = 1 << 20;

/// Values nested in each other: whoever goes through them needs stack for each.
pub(crate) const MAX_DEPTH: u16 = 500;

const EXHAUSTED: &str = "Template asks for too much work";

/// The steps that are left.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
    full: u64,
}

impl Budget {
    /// A budget for a template of this many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let full = BASE.saturating_add(bytes.saturating_mul(PER_BYTE)).min(MOST);
        Self { left: AtomicU64::new(full), full }
    }

    /// Takes steps; false when they are more than what is left.
    pub(crate) fn spend(&self, steps: u64) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(steps), Ordering::Relaxed);
        left >= steps && left > 0
    }

    /// Takes the steps of going through a value once.
    pub(crate) fn spend_weight(&self, weight: u32) -> bool {
        self.spend(u64::from(weight) / 8)
    }

    /// Reports whether nothing is left.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Gives everything back, for a line of the console that has nothing to do with the last one.
    pub(crate) fn renew(&self) {
        self.left.store(self.full, Ordering::Relaxed);
    }

    /// Says that nothing is left.
    pub(crate) fn complain(span: Span, diagnostics: &mut Diagnostics) {
        // Everything that is evaluated from now on fails the same way; one place is enough.
        if diagnostics.iter().any(|known| known.summary == EXHAUSTED) {
            let again = Diagnostic::error(EXHAUSTED, "Nothing more is evaluated.");
            if diagnostics.last_mut().is_none_or(|last| last.summary != EXHAUSTED) {
                diagnostics.push(again);
            }
            return;
        }
        let detail = "Evaluating its expressions takes more steps than a template may take. Nested `for` expressions \
                      multiply, and so do lists of lists.";
        let diagnostic = Diagnostic::error(EXHAUSTED, detail).at(span);
        diagnostics.push(diagnostic.hint("compute the value outside of the template and pass it as a variable"));
    }

    /// Says that a value has become too large.
    pub(crate) fn complain_of_size(span: Span, diagnostics: &mut Diagnostics) {
        let detail = format!(
            "The value of this expression would have more than {MAX_WEIGHT} parts, more than 64 MiB of text, or parts \
             nested more than {MAX_DEPTH} levels deep."
        );
        diagnostics.push(Diagnostic::error("Value too large", detail).at(span));
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(0)
    }
}
