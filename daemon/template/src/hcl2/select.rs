//! Owns `-only` and `-except`: globs against build names and post-processors.

use globset::{GlobBuilder, GlobMatcher};

use crate::diagnostics::{Diagnostic, Diagnostics};

/// The two filters.
pub(super) struct Selection {
    only: Vec<(String, GlobMatcher, bool)>,
    except: Vec<(String, GlobMatcher, bool)>,
}

impl Selection {
    /// Compiles the patterns and complains about wrong ones.
    pub(super) fn new(only: &[String], except: &[String], diagnostics: &mut Diagnostics) -> Self {
        let mut compile = |patterns: &[String], flag: &str| {
            let mut compiled = Vec::new();
            for pattern in patterns.iter().filter(|pattern| !pattern.is_empty()) {
                match GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build() {
                    Ok(glob) => compiled.push((pattern.clone(), glob.compile_matcher(), false)),
                    Err(error) => {
                        let detail = format!("The pattern {pattern:?} of {flag} is not a glob: {}.", error.kind());
                        diagnostics.push(Diagnostic::error(format!("Invalid {flag} pattern"), detail));
                    }
                }
            }
            compiled
        };
        Self { only: compile(only, "-only"), except: compile(except, "-except") }
    }

    /// Reports whether a build is selected.
    pub(super) fn build(&mut self, name: &str) -> bool {
        let mut selected = self.only.is_empty();
        for (_, glob, used) in &mut self.only {
            if glob.is_match(name) {
                (selected, *used) = (true, true);
            }
        }
        for (_, glob, used) in &mut self.except {
            if glob.is_match(name) {
                (selected, *used) = (false, true);
            }
        }
        selected
    }

    /// Reports whether a post-processor is excluded, and with it the rest of its sequence.
    pub(super) fn excludes_post_processor(&mut self, name: &str) -> bool {
        let mut excluded = false;
        for (_, glob, used) in &mut self.except {
            if glob.is_match(name) {
                (excluded, *used) = (true, true);
            }
        }
        excluded
    }

    /// Warns about patterns that matched nothing.
    pub(super) fn warn_unused(&self, known: &[String], diagnostics: &mut Diagnostics) {
        for (flag, patterns) in [("-only", &self.only), ("-except", &self.except)] {
            for (pattern, _, _) in patterns.iter().filter(|(_, _, used)| !used) {
                let detail = if known.is_empty() {
                    format!("{flag}={pattern} matched nothing: the template has no builds.")
                } else {
                    format!("{flag}={pattern} matched nothing; the builds are {}.", known.join(", "))
                };
                let hint = crate::diagnostics::suggest::did_you_mean(pattern, known.iter().map(String::as_str));
                let diagnostic = Diagnostic::warning(format!("An option {flag} matched nothing"), detail);
                diagnostics.push(diagnostic.hint_maybe(hint));
            }
        }
    }
}
