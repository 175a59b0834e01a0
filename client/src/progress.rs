//! Bars for transfers, below the output, on a terminal only.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kiln_protocol::{Event, EventBody};

/// How a bar looks.
const TEMPLATE: &str = "{prefix:.bold} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// How it looks when nobody knows the end.
const TEMPLATE_WITHOUT_TOTAL: &str = "{prefix:.bold} {spinner} {bytes} {bytes_per_sec}";

/// The bars of a job.
#[derive(Default)]
pub(crate) struct Bars {
    all: MultiProgress,
    bars: HashMap<(Option<String>, String), ProgressBar>,
}

impl Bars {
    /// Draws what the event says.
    pub(crate) fn event(&mut self, event: &Event) {
        match &event.body {
            EventBody::Progress { what, done, total } => {
                let key = (event.build.clone(), what.clone());
                let bar = self.bars.entry(key.clone()).or_insert_with(|| {
                    let bar = self.all.add(ProgressBar::new(0));
                    bar.with_prefix(what.clone())
                });
                let template = if total.is_some() { TEMPLATE } else { TEMPLATE_WITHOUT_TOTAL };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_length(total.unwrap_or(*done));
                bar.set_position(*done);
                if *total == Some(*done) {
                    bar.finish_and_clear();
                    self.bars.remove(&key);
                }
            }
            EventBody::BuildFinished { .. } => self.clear(|build| build == event.build.as_deref()),
            // A question needs the line to itself; bars come back with the next news.
            EventBody::JobFinished { .. } | EventBody::Prompt { .. } => self.clear(|_| true),
            _ => {}
        }
    }

    /// Does something while no bar is on the screen.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.all.suspend(work)
    }

    fn clear(&mut self, whose: impl Fn(Option<&str>) -> bool) {
        self.bars.retain(|(build, _), bar| {
            let gone = whose(build.as_deref());
            if gone {
                bar.finish_and_clear();
            }
            !gone
        });
    }
}
