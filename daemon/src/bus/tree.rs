//! The objects that are shown, and what is new about them since they were last told of.

use std::collections::{BTreeMap, BTreeSet};

use kiln_protocol::JobId;

use super::place::Place;
use super::value::{Value, Values};
use super::view;
use crate::jobs::{JobCounts, Observed};

/// Builds of one job that have objects.
const MAX_BUILDS: usize = 64;

/// Images of one job that have objects. `Files` of their builds names the files of all.
const MAX_IMAGES: usize = 64;

/// Bytes of the names of files in the images of one job, each with the directory that the job was submitted in. Images whose files do not fit
/// have no object: what a worker says once would be held a thousand times as long, and be sent by each look at all objects.
const MAX_IMAGE_BYTES: usize = 1 << 20;

/// Questions of one job that have objects.
const MAX_PROMPTS: usize = 16;

/// The objects that are shown.
#[derive(Debug)]
pub(super) struct Tree {
    manager: Values,
    jobs: BTreeMap<JobId, ShownJob>,
}

/// The objects of a job.
#[derive(Debug, Default)]
struct ShownJob {
    /// User who submitted it.
    owner: u32,
    objects: BTreeMap<Place, Object>,
    /// The numbers of its open questions.
    prompts: BTreeMap<String, u64>,
    last_prompt: u64,
}

/// An object.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    /// What the jobs call it: the name of a build, of a question.
    pub(super) name: String,
    /// Its properties.
    pub(super) values: Values,
}

/// What is new about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is there.
    Added(Place),
    /// These properties of it have other values.
    Changed(Place, Vec<&'static str>),
    /// It is there no more.
    Removed(Place),
}

impl Tree {
    pub(super) fn new(counts: JobCounts) -> Self {
        Self { manager: view::manager(counts), jobs: BTreeMap::new() }
    }

    /// Takes over how many jobs there are.
    pub(super) fn count(&mut self, counts: JobCounts) -> Vec<News> {
        let values = view::manager(counts);
        let changed = changed(&self.manager, &values);
        self.manager = values;
        if changed.is_empty() { Vec::new() } else { vec![News::Changed(Place::Manager, changed)] }
    }

    /// Shows a job as it is now. What comes is told first, then what changes, then what goes: no property names an object that is not there.
    pub(super) fn show(&mut self, observed: &Observed) -> Vec<News> {
        let id = &observed.job.id;
        let shown = self.jobs.entry(id.clone()).or_default();
        shown.owner = observed.owner;
        let objects = shown.objects_of(observed);
        let (mut added, mut altered) = (Vec::new(), Vec::new());
        for (place, object) in &objects {
            match shown.objects.get(place) {
                None => added.push(News::Added(place.clone())),
                Some(before) => {
                    let names = changed(&before.values, &object.values);
                    if !names.is_empty() {
                        altered.push(News::Changed(place.clone(), names));
                    }
                }
            }
        }
        let gone = shown.objects.keys().filter(|place| !objects.contains_key(*place));
        let removed: Vec<_> = gone.map(|place| News::Removed(place.clone())).collect();
        shown.objects = objects;
        added.into_iter().chain(altered).chain(removed).collect()
    }

    /// Shows a job no longer.
    pub(super) fn hide(&mut self, id: &JobId) -> Vec<News> {
        let shown = self.jobs.remove(id);
        // Children first.
        shown.into_iter().flat_map(|job| job.objects.into_keys().rev()).map(News::Removed).collect()
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &JobId> {
        self.jobs.keys()
    }

    /// Returns whose job it is, if it is shown.
    pub(super) fn owner(&self, id: &JobId) -> Option<u32> {
        self.jobs.get(id).map(|job| job.owner)
    }

    /// Returns whose jobs are shown.
    pub(super) fn owners(&self) -> BTreeSet<u32> {
        self.jobs.values().map(|job| job.owner).collect()
    }

    pub(super) fn shows(&self, id: &JobId) -> bool {
        self.jobs.contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Returns the properties of an object, if it is there.
    pub(super) fn values(&self, place: &Place) -> Option<&Values> {
        match place.job() {
            None => Some(&self.manager),
            Some(_) => self.object(place).map(|object| &object.values),
        }
    }

    /// Returns an object of a job, if it is there.
    pub(super) fn object(&self, place: &Place) -> Option<&Object> {
        self.jobs.get(place.job()?)?.objects.get(place)
    }

    /// Returns the objects of a job.
    pub(super) fn objects(&self, id: &JobId) -> impl Iterator<Item = (&Place, &Object)> {
        self.jobs.get(id).into_iter().flat_map(|job| &job.objects)
    }
}

impl ShownJob {
    fn objects_of(&mut self, observed: &Observed) -> BTreeMap<Place, Object> {
        let job = &observed.job;
        let mut objects = BTreeMap::new();
        let builds: Vec<_> = job.builds.iter().take(MAX_BUILDS).enumerate().collect();
        let build_places: Vec<_> = builds.iter().map(|(number, _)| Place::Build(job.id.clone(), *number)).collect();
        let (mut room, mut bytes) = (MAX_IMAGES, MAX_IMAGE_BYTES);
        for ((number, build), place) in builds.into_iter().zip(&build_places) {
            // What has no files is none: the artifact of the null builder, or of an upload.
            let artifacts = build.artifacts.iter().enumerate().filter(|(_, artifact)| !artifact.files.is_empty());
            let mut image_places = Vec::new();
            for (among, artifact) in artifacts {
                let Some(left) = bytes.checked_sub(view::size_of_files(observed, artifact)).filter(|_| room > 0) else {
                    continue;
                };
                (room, bytes) = (room - 1, left);
                let place = Place::Image(job.id.clone(), number, among);
                let values = view::image(observed, number, artifact);
                objects.insert(place.clone(), Object { name: artifact.id.clone(), values });
                image_places.push(place);
            }
            let object = Object { name: build.name.clone(), values: view::build(observed, build, &image_places) };
            objects.insert(place.clone(), object);
        }
        let open = |name: &String| job.questions.iter().any(|question| question.prompt == *name);
        self.prompts.retain(|name, _| open(name));
        let mut waiting = None;
        for question in job.questions.iter().take(MAX_PROMPTS) {
            let number = *self.prompts.entry(question.prompt.clone()).or_insert_with(|| {
                self.last_prompt += 1;
                self.last_prompt
            });
            let place = Place::Prompt(job.id.clone(), number);
            waiting.get_or_insert_with(|| place.clone());
            let object = Object { name: question.prompt.clone(), values: view::prompt(observed, question) };
            objects.insert(place, object);
        }
        let values = view::job(observed, &build_places, waiting.as_ref());
        objects.insert(Place::Job(job.id.clone()), Object { name: String::new(), values });
        objects
    }
}

fn changed(before: &Values, after: &Values) -> Vec<&'static str> {
    let differs = |(name, value): (&&'static str, &Value)| (before.get(*name) != Some(value)).then_some(*name);
    after.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use kiln_protocol::{Job, JobState};

    use super::super::interface::interface;
    use super::*;

    fn observed(change: impl FnOnce(&mut Job)) -> Observed {
        let text = r#"{"id":"abcdefghij","kind":"build","template":"a.pkr.hcl","working_directory":"/w","state":"running",
            "created_at":"2026-01-02T03:04:05.678Z","last_event":9,
            "builds":[{"name":"qemu.a","state":"running","step":"boot","artifacts":[
                {"builder_id":"null","id":"n"},{"builder_id":"transcend.qemu","id":"VM","files":["out/a","/v/b"]}]}],
            "questions":[{"prompt":"x/1","build":"qemu.a","text":"Go on?","choices":[{"key":"c","label":"clean up"}],
                "asked_at":"2026-01-02T03:05:00Z"}]}"#;
        let mut job: Job = serde_json::from_str(text).unwrap();
        change(&mut job);
        Observed { job, owner: 1000, transfers: [("qemu.a".to_owned(), 0.25)].into() }
    }

    fn tree() -> Tree {
        Tree::new(JobCounts::default())
    }

    #[test]
    fn every_object_has_exactly_the_properties_of_its_interface_in_their_types() {
        let mut tree = tree();
        let news = tree.show(&observed(|_| ()));
        assert_eq!(news.len(), 4, "{news:?}");
        let places = news.into_iter().map(|news| match news {
            News::Added(place) => place,
            other => panic!("{other:?}"),
        });
        for place in places.chain([Place::Manager]) {
            let interface = interface(place.interface()).unwrap();
            let values = tree.values(&place).unwrap();
            let announced: BTreeMap<_, _> =
                interface.properties.iter().map(|property| (property.name, property.signature.to_owned())).collect();
            let there: BTreeMap<_, _> =
                values.iter().map(|(name, value)| (*name, value.to_variant().value_signature().to_string())).collect();
            assert_eq!(there, announced, "{place}");
        }
    }

    #[test]
    fn what_is_new_is_told_once_and_constants_stay() {
        let (mut tree, id): (_, JobId) = (tree(), "abcdefghij".parse().unwrap());
        let (job, build) = (Place::Job(id.clone()), Place::Build(id.clone(), 0));
        let prompt = Place::Prompt(id.clone(), 1);
        tree.show(&observed(|_| ()));
        assert_eq!(tree.values(&job).unwrap()["Waiting"], Value::Path(prompt.to_string()));
        assert_eq!(tree.object(&prompt).unwrap().name, "x/1");
        assert_eq!(tree.values(&job).unwrap()["Progress"], Value::Share(0.25));
        assert!(tree.show(&observed(|_| ())).is_empty());
        let news = tree.show(&observed(|job| job.questions.clear()));
        assert_eq!(news, [News::Changed(job.clone(), vec!["Waiting"]), News::Removed(prompt)]);
        let again = tree.show(&observed(|_| ()));
        let second = Place::Prompt(id.clone(), 2);
        assert_eq!(again[0], News::Added(second.clone()), "the same question again is another object");
        let over = tree.show(&observed(|job| {
            (job.state, job.error) = (JobState::Failed, Some("no".to_owned()));
            job.questions.clear();
        }));
        let News::Changed(_, names) = &over[0] else { panic!("{over:?}") };
        for name in names {
            assert!(!interface(job.interface()).unwrap().property(name).unwrap().is_constant, "{name}");
        }
        assert_eq!(tree.values(&job).unwrap()["Cancelable"], Value::Truth(false));
        let image = Place::Image(id.clone(), 0, 1);
        assert_eq!(tree.hide(&id), [News::Removed(image), News::Removed(build), News::Removed(job)]);
        assert!(tree.hide(&id).is_empty());
    }

    #[test]
    fn a_job_of_countless_builds_and_questions_has_a_limited_number_of_objects() {
        let mut tree = tree();
        let news = tree.show(&observed(|job| {
            for number in 0..1000 {
                let mut build = job.builds[0].clone();
                build.name = format!("qemu.{number}");
                job.builds.push(build);
                let mut question = job.questions[0].clone();
                question.prompt = number.to_string();
                job.questions.push(question);
            }
        }));
        assert_eq!(news.len(), 1 + MAX_BUILDS + MAX_IMAGES + MAX_PROMPTS);
    }

    #[test]
    fn files_of_images_are_not_held_without_bound_however_long_the_directory_before_them() {
        for length in [4095, 70_000] {
            let mut tree = tree();
            tree.show(&observed(|job| {
                job.working_directory = format!("/{}", "w".repeat(length - 1));
                let files: Vec<_> = (0..256).map(|number| number.to_string()).collect();
                let image =
                    kiln_protocol::Artifact { builder_id: "b".to_owned(), id: "i".to_owned(), text: None, files };
                let small = kiln_protocol::Artifact { files: vec!["/out/disk".to_owned()], ..image.clone() };
                let mut artifacts = vec![image; MAX_IMAGES];
                artifacts.push(small);
                job.builds[0].artifacts = artifacts;
            }));
            let id: JobId = "abcdefghij".parse().unwrap();
            let images: Vec<_> = tree.objects(&id).filter(|(place, _)| matches!(place, Place::Image(..))).collect();
            let held: usize = images
                .iter()
                .map(|(_, image)| match &image.values["Files"] {
                    Value::Texts(files) => files.iter().map(String::len).sum::<usize>(),
                    other => panic!("{other:?}"),
                })
                .sum();
            assert!(held <= MAX_IMAGE_BYTES, "{length}: {held}");
            let last = images.last().map(|(place, _)| (*place).clone());
            assert_eq!(last, Some(Place::Image(id.clone(), 0, MAX_IMAGES)), "what fits behind them has its object");
            // A build names those that are there.
            let named = images.len();
            let Value::Paths(paths) = &tree.values(&Place::Build(id, 0)).unwrap()["Images"] else { panic!("no paths") };
            assert_eq!(paths.len(), named);
        }
    }

    #[test]
    fn an_image_comes_when_its_build_tells_of_it_and_its_build_names_it_then() {
        let (mut tree, id): (_, JobId) = (tree(), "abcdefghij".parse().unwrap());
        tree.show(&observed(|job| job.builds[0].artifacts.clear()));
        let (build, image) = (Place::Build(id.clone(), 0), Place::Image(id, 0, 1));
        let news = tree.show(&observed(|_| ()));
        assert_eq!(news, [News::Added(image.clone()), News::Changed(build.clone(), vec!["Files", "Images"])]);
        assert_eq!(tree.values(&build).unwrap()["Images"], Value::Paths(vec![image.to_string()]));
        let values = tree.values(&image).unwrap();
        assert_eq!(values["Files"], Value::Texts(vec!["/w/out/a".to_owned(), "/v/b".to_owned()]));
        assert_eq!((&values["Builder"], &values["Owner"]), (&Value::from("transcend.qemu"), &Value::Small(1000)));
    }
}
