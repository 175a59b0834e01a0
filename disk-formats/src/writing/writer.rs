//! What every writer of an output is, and what it is made with.

use std::path::Path;

use super::convert_options::ConvertOptions;
use super::output_file::{FileOptions, FinishedFile, OutputFile};
use super::pass::batch::{BatchWriter, Recipe};
use super::pass::collector::PassReport;
use super::storage::Destinations;
use crate::error::Result;

/// Writes one output: an image, or a package of several.
pub(crate) trait OutputWriter: BatchWriter {
    /// Called before the batches of disk `index`.
    fn begin_disk(&mut self, index: usize) -> Result<()> {
        let _ = index;
        Ok(())
    }

    /// Called after the last batch of a disk.
    fn end_disk(&mut self, pass: &PassReport) -> Result<()>;

    /// Completes the files, main file first. They get their names from the caller.
    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>>;
}

/// What writers are made with.
pub(crate) struct WriterContext<'a> {
    destinations: &'a dyn Destinations,
    hashed: bool,
    durable: bool,
    /// What is compressed for the writers made so far, in the order of their indices.
    pub(crate) recipes: Vec<Recipe>,
}

impl<'a> WriterContext<'a> {
    pub(crate) fn new(destinations: &'a dyn Destinations, options: &ConvertOptions) -> Self {
        Self { destinations, hashed: options.file_digests, durable: options.durable, recipes: Vec::new() }
    }

    /// Makes a file, hashed if the caller wants hashes. `corrected`: see [`FileOptions`].
    pub(crate) fn create(&self, path: &Path, corrected: bool) -> Result<OutputFile> {
        let options = FileOptions { hashed: self.hashed, corrected, durable: self.durable };
        OutputFile::create(self.destinations, path, options)
    }

    /// Returns the index under which batches carry this recipe's results.
    pub(crate) fn recipe(&mut self, recipe: Recipe) -> usize {
        self.recipes.iter().position(|known| *known == recipe).unwrap_or_else(|| {
            self.recipes.push(recipe);
            self.recipes.len() - 1
        })
    }
}
