//! What of jobs is shown on a desktop: decided here from what kilnd tells, without a bus.

use std::collections::HashMap;

use crate::visible;

use super::news::{JobNews, Place, PromptNews, Thing};

/// Longest text of a notification, in characters.
const MAX_TEXT: usize = 400;

/// Steps of progress at which a notification is written anew, in per cent.
const COARSE: u32 = 10;

/// How much a notification wants to be seen, as the specification numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    Low = 0,
    Normal = 1,
    Critical = 2,
}

/// What a button of a notification does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Opens the log of the job.
    OpenLog,
    /// Cancels the job.
    Cancel,
    /// Answers the question.
    Answer(String),
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) summary: String,
    pub(super) body: String,
    pub(super) urgency: Urgency,
    /// What can be done, and how that is called.
    pub(super) deeds: Vec<(Deed, String)>,
    /// What to do where notifications have no buttons.
    pub(super) by_hand: Option<String>,
    pub(super) percent: Option<u32>,
}

/// A job that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// What it does, and to what.
    pub(super) title: String,
    pub(super) step: String,
    pub(super) percent: Option<u32>,
    pub(super) can_cancel: bool,
}

/// What is to be done on the desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// The job goes on so.
    Progress(Thing, Progress),
    /// It does not, or nobody knows; with the error, if it has ended with one.
    Ended(Thing, String),
    /// A notification in place of the last one about the same thing.
    Notice(Thing, Notice),
    /// What was told about it holds no more.
    Close(Thing),
}

/// What is known of what was seen.
#[derive(Debug)]
struct Known {
    is_over: bool,
    progress: Option<Progress>,
}

/// The jobs and questions of one person.
#[derive(Debug)]
pub(super) struct Desk {
    uid: u32,
    jobs: HashMap<Thing, Known>,
    /// Questions that wait, each with its job and what is shown of it.
    prompts: HashMap<Thing, (String, Notice)>,
}

impl Desk {
    pub(super) fn of(uid: u32) -> Self {
        Self { uid, jobs: HashMap::new(), prompts: HashMap::new() }
    }

    /// A job is as it says here.
    pub(super) fn job(&mut self, thing: Thing, job: &JobNews) -> Vec<Show> {
        // Who may see jobs of others is not to be told of each. Looks at images take a moment.
        if job.owner != self.uid || job.kind == "image" {
            return Vec::new();
        }
        let (is_over, progress) = (job.is_over(), progress_of(job));
        let Some(known) = self.jobs.get_mut(&thing) else {
            let shown = if is_over { Vec::new() } else { vec![Show::Progress(thing.clone(), progress.clone())] };
            // What is over when it is first seen was over before.
            self.jobs.insert(thing, Known { is_over, progress: (!is_over).then_some(progress) });
            return shown;
        };
        if known.is_over {
            return Vec::new();
        }
        if is_over {
            (known.is_over, known.progress) = (true, None);
            let error = if job.state == "failed" { line(&job.error) } else { String::new() };
            return vec![Show::Ended(thing.clone(), error), Show::Notice(thing, result_of(job))];
        }
        if known.progress.as_ref() == Some(&progress) {
            return Vec::new();
        }
        known.progress = Some(progress.clone());
        vec![Show::Progress(thing, progress)]
    }

    /// A question waits for an answer.
    pub(super) fn prompt(&mut self, thing: Thing, prompt: &PromptNews) -> Vec<Show> {
        let job = Thing { place: thing.place, path: prompt.job.clone() };
        if !self.jobs.contains_key(&job) || self.prompts.contains_key(&thing) {
            return Vec::new();
        }
        let notice = question_of(prompt);
        self.prompts.insert(thing.clone(), (prompt.job.clone(), notice.clone()));
        vec![Show::Notice(thing, notice)]
    }

    /// There is no such job or question any more.
    pub(super) fn gone(&mut self, thing: &Thing) -> Vec<Show> {
        let mut shown = Vec::new();
        if self.prompts.remove(thing).is_some() {
            shown.push(Show::Close(thing.clone()));
        }
        // What has ended stays told.
        if self.jobs.remove(thing).is_some_and(|known| !known.is_over) {
            shown.push(Show::Ended(thing.clone(), String::new()));
        }
        shown
    }

    /// The kilnd there has told of all these, and of no others.
    pub(super) fn only(&mut self, place: Place, things: &[Thing]) -> Vec<Show> {
        let known = self.jobs.keys().chain(self.prompts.keys());
        let gone: Vec<Thing> = known.filter(|thing| thing.place == place && !things.contains(thing)).cloned().collect();
        gone.iter().flat_map(|thing| self.gone(thing)).collect()
    }

    /// The kilnd there has left. Its jobs go on, and the next one tells of them.
    pub(super) fn left(&mut self, place: Place) -> Vec<Show> {
        let mut shown = Vec::new();
        for (thing, known) in self.jobs.iter_mut().filter(|(thing, _)| thing.place == place) {
            if known.progress.take().is_some() {
                shown.push(Show::Ended(thing.clone(), String::new()));
            }
        }
        let prompts: Vec<Thing> = self.prompts.keys().filter(|thing| thing.place == place).cloned().collect();
        for prompt in prompts {
            self.prompts.remove(&prompt);
            shown.push(Show::Close(prompt));
        }
        shown
    }

    /// Jobs that run, for what shows them anew.
    pub(super) fn running(&self) -> Vec<Show> {
        let jobs = self.jobs.iter().filter_map(|(thing, known)| Some((thing, known.progress.as_ref()?)));
        jobs.map(|(thing, progress)| Show::Progress(thing.clone(), progress.clone())).collect()
    }

    /// Questions that wait, for what shows them anew.
    pub(super) fn questions(&self) -> Vec<Show> {
        let prompts = self.prompts.iter();
        prompts.map(|(thing, (_, notice))| Show::Notice(thing.clone(), notice.clone())).collect()
    }

    /// Returns the job that a question is of, else the thing itself.
    pub(super) fn job_of(&self, thing: &Thing) -> String {
        self.prompts.get(thing).map_or(&thing.path, |(job, _)| job).clone()
    }
}

impl Progress {
    /// Whether a notification of the one would say the same as one of the other.
    pub(super) fn reads_like(&self, other: &Self) -> bool {
        let coarse = |progress: &Self| progress.percent.map(|percent| percent / COARSE);
        (&self.title, &self.step, self.can_cancel) == (&other.title, &other.step, other.can_cancel)
            && coarse(self) == coarse(other)
    }

    /// Returns the notification of it, where nothing else shows progress.
    pub(super) fn notice(&self) -> Notice {
        let mut deeds = vec![(Deed::OpenLog, "Open log".to_owned())];
        if self.can_cancel {
            deeds.push((Deed::Cancel, "Cancel".to_owned()));
        }
        Notice {
            summary: self.title.clone(),
            body: self.step.clone(),
            urgency: Urgency::Low,
            deeds,
            by_hand: None,
            percent: self.percent,
        }
    }
}

fn progress_of(job: &JobNews) -> Progress {
    let step = match job.state.as_str() {
        "running" if !job.step.is_empty() => line(&job.step),
        state => state.to_owned(),
    };
    let percent = (job.progress >= 0.0).then(|| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
        let percent = (job.progress.clamp(0.0, 1.0) * 100.0) as u32;
        percent
    });
    Progress { title: format!("{} {}", doing(job), name(job)), step, percent, can_cancel: job.can_cancel }
}

fn doing(job: &JobNews) -> &'static str {
    if job.kind == "convert" { "Converting" } else { "Building" }
}

/// Names what a job works on.
fn name(job: &JobNews) -> String {
    let name = job.template.rsplit('/').find(|part| !part.is_empty() && *part != ".").unwrap_or(&job.id);
    line(if name == "-" { &job.id } else { name })
}

fn result_of(job: &JobNews) -> Notice {
    let name = name(job);
    let (summary, body, urgency) = match job.state.as_str() {
        "succeeded" => (format!("{name} is done"), String::new(), Urgency::Normal),
        "cancelled" => (format!("{name} was cancelled"), String::new(), Urgency::Low),
        _ => (format!("{name} has failed"), line(&job.error), Urgency::Normal),
    };
    let deeds = vec![(Deed::OpenLog, "Open log".to_owned())];
    Notice { summary, body, urgency, deeds, by_hand: Some(format!("kiln logs {}", job.id)), percent: None }
}

fn question_of(prompt: &PromptNews) -> Notice {
    let mut deeds: Vec<_> =
        prompt.choices.iter().map(|(key, label)| (Deed::Answer(key.clone()), line(label))).collect();
    deeds.push((Deed::OpenLog, "Open log".to_owned()));
    let mut body = line(&prompt.text);
    if !prompt.guest.is_empty() {
        body += &format!("\nThe guest is reached by: {}", line(&prompt.guest));
    }
    let id = prompt.job.rsplit("/_").next().unwrap_or_default();
    let by_hand = Some(format!("kiln answer {id}"));
    // A text cannot be typed into a notification.
    if prompt.choices.is_empty() {
        body += &format!("\nAnswer with: kiln answer {id}");
    }
    Notice { summary: "Kiln asks".to_owned(), body, urgency: Urgency::Critical, deeds, by_hand, percent: None }
}

/// Makes a text fit for a window: visible, and not too long.
fn line(text: &str) -> String {
    let text = visible::name(text.trim()).into_owned();
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(name: &str) -> Thing {
        Thing { place: Place::Session, path: format!("/org/kiln/Kiln1/job/_{name}") }
    }

    fn job(state: &str, step: &str, progress: f64) -> JobNews {
        JobNews {
            id: "aaaaaaaaaa".to_owned(),
            kind: "build".to_owned(),
            template: "/home/ann/web.pkr.hcl".to_owned(),
            state: state.to_owned(),
            step: step.to_owned(),
            error: "no SSH\u{1b}[2J".to_owned(),
            progress,
            owner: 1000,
            can_cancel: state == "running",
        }
    }

    #[test]
    fn a_job_is_shown_from_its_beginning_to_its_end_and_once() {
        let mut desk = Desk::of(1000);
        let Some(Show::Progress(_, first)) = desk.job(thing("a"), &job("queued", "", -1.0)).pop() else { panic!() };
        assert_eq!(
            (first.title.as_str(), first.step.as_str(), first.percent),
            ("Building web.pkr.hcl", "queued", None)
        );
        assert_eq!(desk.job(thing("a"), &job("queued", "", -1.0)), []);
        let running = desk.job(thing("a"), &job("running", "connect", 0.419));
        let Some(Show::Progress(_, progress)) = running.first() else { panic!("{running:?}") };
        assert_eq!((progress.step.as_str(), progress.percent, progress.can_cancel), ("connect", Some(41), true));
        let ended = desk.job(thing("a"), &job("failed", "", -1.0));
        let [Show::Ended(_, error), Show::Notice(_, notice)] = &ended[..] else { panic!("{ended:?}") };
        assert_eq!(error, "no SSH^[[2J");
        assert_eq!(notice.summary, "web.pkr.hcl has failed");
        assert_eq!(desk.job(thing("a"), &job("failed", "", -1.0)), []);
        assert_eq!(desk.gone(&thing("a")), [], "its end stays told");
    }

    #[test]
    fn what_is_over_of_others_or_only_a_look_is_not_told() {
        let mut desk = Desk::of(1000);
        assert_eq!(desk.job(thing("a"), &job("succeeded", "", -1.0)), []);
        assert_eq!(desk.job(thing("b"), &JobNews { owner: 1001, ..job("running", "", -1.0) }), []);
        assert_eq!(desk.job(thing("c"), &JobNews { kind: "image".to_owned(), ..job("running", "", -1.0) }), []);
        let prompt = PromptNews { job: thing("b").path, ..PromptNews::default() };
        assert_eq!(desk.prompt(thing("b/prompt/_1"), &prompt), [], "a question of a job of another");
    }

    #[test]
    fn a_question_has_a_button_for_each_choice_and_closes_when_it_is_answered() {
        let mut desk = Desk::of(1000);
        desk.job(thing("a"), &job("running", "provision", -1.0));
        let choices = vec![("c".to_owned(), "Clean up".to_owned()), ("a".to_owned(), "Abort".to_owned())];
        let asked = PromptNews { job: thing("a").path, text: "What now?".to_owned(), guest: String::new(), choices };
        let prompt = thing("a/prompt/_1");
        let shown = desk.prompt(prompt.clone(), &asked);
        let [Show::Notice(_, notice)] = &shown[..] else { panic!("{shown:?}") };
        assert_eq!(notice.urgency, Urgency::Critical);
        let labels: Vec<_> = notice.deeds.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["Clean up", "Abort", "Open log"]);
        assert_eq!(notice.deeds[1].0, Deed::Answer("a".to_owned()));
        assert_eq!(desk.job_of(&prompt), thing("a").path);
        assert_eq!(desk.prompt(prompt.clone(), &asked), [], "told already");
        assert_eq!(desk.gone(&prompt), [Show::Close(prompt.clone())]);
        let text = PromptNews { choices: Vec::new(), ..asked };
        let shown = desk.prompt(prompt, &text);
        let [Show::Notice(_, notice)] = &shown[..] else { panic!("{shown:?}") };
        assert!(notice.body.ends_with("Answer with: kiln answer a"), "{}", notice.body);
    }

    #[test]
    fn a_kilnd_that_leaves_and_comes_back_goes_on_with_its_jobs() {
        let mut desk = Desk::of(1000);
        for name in ["a", "b", "c"] {
            desk.job(thing(name), &job("running", "x", -1.0));
        }
        assert_eq!(desk.left(Place::System), []);
        assert_eq!(desk.left(Place::Session).len(), 3);
        assert_eq!(desk.job(thing("a"), &job("running", "x", -1.0)).len(), 1, "it goes on");
        let ended = desk.job(thing("b"), &job("succeeded", "", -1.0));
        assert!(matches!(&ended[..], [_, Show::Notice(..)]), "its end was missed: {ended:?}");
        assert_eq!(desk.only(Place::Session, &[thing("a"), thing("b")]), [Show::Ended(thing("c"), String::new())]);
        assert_eq!(desk.running().len(), 1);
    }

    #[test]
    fn a_notification_is_written_anew_when_it_says_something_else() {
        let at = |percent| progress_of(&job("running", "download", percent));
        assert!(at(0.41).reads_like(&at(0.49)) && !at(0.41).reads_like(&at(0.51)));
    }
}
