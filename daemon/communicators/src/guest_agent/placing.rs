//! Files in the guest that get their names when they are whole: what was there before stays until then, and stays when the upload is given up.

use std::sync::Arc;

use super::failure::Failure;
use super::scripts;
use super::session::Session;
use super::token::token;

/// Files under names of ours; removed when dropped before they have their own.
pub(super) struct Placing {
    session: Arc<Session>,
    /// What their names begin with.
    beginning: String,
    /// The script that removes them.
    removal: String,
    is_over: bool,
}

impl Placing {
    /// None yet.
    pub(super) fn new(session: &Arc<Session>) -> Result<Self, Failure> {
        let beginning = format!(".kiln-{}-", token()?);
        Ok(Self { session: Arc::clone(session), beginning, removal: String::new(), is_over: false })
    }

    /// The name of one of them.
    pub(super) fn name(&self, number: usize) -> String {
        format!("{}{number}", self.beginning)
    }

    /// The path, in the same directory, of one that is to be at `path`.
    pub(super) fn beside(&self, path: &str, number: usize) -> String {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{directory}/{}", self.name(number))
    }

    /// From now on there is the one that is to be at `path`.
    pub(super) fn begin_file(&mut self, path: &str) -> String {
        let there = self.beside(path, 0);
        self.removal = scripts::remove(&there);
        there
    }

    /// From now on there are some below `root`.
    pub(super) fn begin_tree(&mut self, root: &str) {
        self.removal = scripts::remove_below(root, &self.beginning);
    }

    /// All have their own names.
    pub(super) fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Placing {
    fn drop(&mut self) {
        if self.is_over || self.removal.is_empty() || self.session.is_over() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (session, removal) = (Arc::clone(&self.session), std::mem::take(&mut self.removal));
        runtime.spawn(async move {
            // An error means that the guest has gone.
            let _ = session.start(&["-c", &removal], false).await;
        });
    }
}
