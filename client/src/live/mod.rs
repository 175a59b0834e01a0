//! What goes on right now: live lines below the output on a terminal, or a line every half minute of silence.
//!
//! ```text
//! events ─► activity (what goes on, since when) ─► line (one row of text each) ─► screen (drawn in place)
//!                                              └─► heartbeat lines, where nothing can be drawn
//! ```
//!
//! Events only change what is known; lines are drawn by the clock. So a job that is replayed does not flicker.

mod activity;
mod line;
mod screen;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use kiln_protocol::{Event, EventBody};

use activity::Activities;
use screen::Screen;

/// How often lines are drawn, or looked at.
pub(crate) const PACE: Duration = Duration::from_millis(250);

/// Says what a job waits for while others run.
pub(crate) const QUEUE: &str = "waiting for other jobs";

/// Live lines of a job.
pub(crate) struct Live {
    activities: Activities,
    /// Nothing where lines cannot be drawn.
    screen: Option<Screen>,
    /// Open questions: each needs the line to itself.
    asked: HashSet<String>,
}

impl Live {
    /// Lines that are drawn.
    pub(crate) fn drawn() -> Self {
        Self { activities: Activities::default(), screen: Some(Screen::default()), asked: HashSet::new() }
    }

    /// Lines that are told now and then.
    pub(crate) fn told() -> Self {
        Self { activities: Activities::default(), screen: None, asked: HashSet::new() }
    }

    /// Notes that the job waits for others.
    pub(crate) fn queued(&mut self) {
        self.activities.begin_wait(None, QUEUE, Timestamp::now());
    }

    /// Notes what the event says.
    pub(crate) fn event(&mut self, event: &Event) {
        self.activities.event(event);
        // What is printed next would have the last line drawn once more below it.
        if self.activities.is_empty() {
            self.clear();
        }
        match &event.body {
            EventBody::Prompt { prompt, .. } => {
                self.asked.insert(prompt.clone());
            }
            EventBody::PromptAnswered { prompt, .. } => _ = self.asked.remove(prompt),
            EventBody::CancelRequested | EventBody::JobFinished { .. } => self.asked.clear(),
            _ => return,
        }
        if let Some(screen) = &mut self.screen
            && !self.asked.is_empty()
        {
            screen.draw(&[]);
        }
    }

    /// Draws, or returns the lines that are due.
    pub(crate) fn tick(&mut self) -> Vec<String> {
        let now = Timestamp::now();
        match &mut self.screen {
            Some(screen) if self.asked.is_empty() => {
                let (width, rows) = screen.size();
                screen.draw(&self.activities.lines(now, width, rows));
                Vec::new()
            }
            Some(_) => Vec::new(),
            None => self.activities.heartbeat(now),
        }
    }

    /// Does something while no line is on the screen.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.screen {
            Some(screen) => screen.suspend(work),
            None => work(),
        }
    }

    /// Takes all lines off the screen.
    pub(crate) fn clear(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.draw(&[]);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}
