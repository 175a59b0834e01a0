//! Rows below the output on standard error, drawn in place.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The rows that are on the screen.
#[derive(Default)]
pub(super) struct Screen {
    all: MultiProgress,
    rows: Vec<ProgressBar>,
}

impl Screen {
    /// Returns columns and rows of the terminal.
    pub(super) fn size(&self) -> (usize, usize) {
        let (rows, columns) = console::Term::stderr().size();
        (columns.into(), rows.into())
    }

    /// Draws these rows in place of those that are there.
    pub(super) fn draw(&mut self, lines: &[String]) {
        for row in self.rows.drain(lines.len().min(self.rows.len())..) {
            row.finish_and_clear();
            self.all.remove(&row);
        }
        while self.rows.len() < lines.len() {
            let row = self.all.add(ProgressBar::no_length());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                row.set_style(style);
            }
            self.rows.push(row);
        }
        for (row, line) in self.rows.iter().zip(lines) {
            if row.message() != *line {
                row.set_message(line.clone());
            }
        }
    }

    /// Does something while no row is on the screen.
    pub(super) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.all.suspend(work)
    }
}
