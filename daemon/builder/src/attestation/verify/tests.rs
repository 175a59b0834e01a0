//! What holds and what does not, of envelopes that are signed here.

use serde_json::json;

use super::*;
use crate::attestation::key::SigningKey;
use crate::attestation::key::tests::{P256, key};
use crate::attestation::statement::sha256;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

struct World {
    directory: tempfile::TempDir,
    key: SigningKey,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.img"), "abc").unwrap();
        Self { directory, key: key(P256) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sign(&self, payload: &serde_json::Value) {
        let envelope = Envelope::sign(payload.to_string().as_bytes(), &self.key).unwrap();
        std::fs::write(self.path("a.json"), envelope.to_json().unwrap()).unwrap();
    }

    fn verify(&self, expected: &Expectations) -> Result<Verified, String> {
        let verified = verify(&self.path("a.json"), self.key.verifying(), expected, &|_, _| ControlFlow::Continue(()));
        verified.map_err(|error| error.to_string())
    }
}

fn provenance() -> serde_json::Value {
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "a.img", "digest": {"sha256": ABC.to_uppercase()}}, {"name": "gone.img", "digest": sha256(ABC)}],
        "predicateType": PredicateType::Provenance.uri(),
        "predicate": {
            "buildDefinition": {"buildType": "t", "externalParameters": {}, "resolvedDependencies": [{"uri": "git+x"}]},
            "runDetails": {"builder": {"id": "me"}},
        },
    })
}

#[test]
fn what_lies_beside_is_looked_at_and_what_does_not_is_told() {
    let world = World::new();
    world.sign(&provenance());
    let verified = world.verify(&Expectations::default()).unwrap();
    assert_eq!(verified.builder_id.as_deref(), Some("me"));
    let files: Vec<_> = verified.subjects.into_iter().map(|subject| subject.file).collect();
    assert_eq!(files, [Some(world.path("a.img")), None]);
    std::fs::write(world.path("a.img"), "abd").unwrap();
    assert!(world.verify(&Expectations::default()).unwrap_err().contains("its SHA-256 is"));
}

#[test]
fn each_expectation_is_held() {
    let world = World::new();
    world.sign(&provenance());
    let some = |text: &str| Some(text.to_owned());
    let of = |expected: Expectations| world.verify(&expected);
    let default = Expectations::default;
    of(Expectations { predicate_type: some(PredicateType::Provenance.uri()), ..default() }).unwrap();
    of(Expectations { builder_id: some("me"), ..default() }).unwrap();
    of(Expectations { source_uri: some("git+x"), ..default() }).unwrap();
    of(Expectations { artifacts: vec![world.path("a.img")], ..default() }).unwrap();
    for (expected, words) in [
        (Expectations { predicate_type: some("x"), ..default() }, "predicate type is"),
        (Expectations { builder_id: some("you"), ..default() }, "builder is \"me\", not \"you\""),
        (Expectations { source_uri: some("git+y"), ..default() }, "source is \"git+x\", not \"git+y\""),
        (Expectations { artifacts: vec![world.path("gone.img")], ..default() }, "cannot read "),
        (Expectations { artifacts: vec![world.path("a.json")], ..default() }, "is not about "),
    ] {
        let error = of(expected.clone()).unwrap_err();
        assert!(error.contains(words), "{expected:?}: {error}");
    }
    std::fs::create_dir(world.path("d")).unwrap();
    std::fs::write(world.path("d/a.img"), "other").unwrap();
    let other = Expectations { artifacts: vec![world.path("a.img"), world.path("d/a.img")], ..default() };
    assert!(of(other).unwrap_err().contains("d/a.img is not the file"));
}

#[test]
fn subjects_that_no_file_can_be_compared_with_are_told() {
    let world = World::new();
    let mut statement = provenance();
    statement["subject"] = json!([
        {"name": "b.img", "digest": {"sha512": "00", "md5": "00"}}, {"name": "a.img", "digest": sha256(ABC)}, {"name": "c.img"},
    ]);
    world.sign(&statement);
    std::fs::write(world.path("b.img"), "abc").unwrap();
    let verified = world.verify(&Expectations::default()).unwrap();
    assert_eq!(verified.subjects.len(), 1);
    let undigested: Vec<_> =
        verified.undigested.iter().map(|subject| (subject.name.as_str(), subject.digests.len())).collect();
    assert_eq!(undigested, [("b.img", 2), ("c.img", 0)]);
    let error = world.verify(&Expectations { artifacts: vec![world.path("b.img")], ..Expectations::default() });
    let error = error.unwrap_err();
    assert!(error.contains("without a SHA-256: it has md5, sha512"), "{error}");
}

#[test]
fn files_of_one_name_are_told_apart() {
    let world = World::new();
    std::fs::create_dir(world.path("d")).unwrap();
    std::fs::write(world.path("d/a.img"), "other").unwrap();
    let other = digest_of_file(&world.path("d/a.img"), &|_| ControlFlow::Continue(())).unwrap();
    let mut statement = provenance();
    statement["subject"] =
        json!([{"name": "a.img", "digest": sha256(ABC)}, {"name": "d/a.img", "digest": sha256(&*other)}]);
    world.sign(&statement);
    let files = |expected: &Expectations| {
        world.verify(expected).map(|verified| verified.subjects.into_iter().map(|s| s.file).collect::<Vec<_>>())
    };
    let both = [Some(world.path("a.img")), Some(world.path("d/a.img"))];
    assert_eq!(files(&Expectations::default()).unwrap(), both);
    let named = Expectations { artifacts: vec![world.path("d/a.img"), world.path("a.img")], ..Expectations::default() };
    assert_eq!(files(&named).unwrap(), both);
    // Others write two subjects of one name.
    statement["subject"][1]["name"] = "a.img".into();
    world.sign(&statement);
    assert_eq!(files(&Expectations::default()).unwrap(), [Some(world.path("a.img")), None]);
    std::fs::write(world.path("a.img"), "neither").unwrap();
    assert!(files(&Expectations::default()).unwrap_err().contains(&format!("{ABC} or {other}")));
}

#[test]
fn another_statement_has_no_builder() {
    let world = World::new();
    let mut statement = provenance();
    statement["predicateType"] = PredicateType::Spdx.uri().into();
    world.sign(&statement);
    assert_eq!(world.verify(&Expectations::default()).unwrap().builder_id, None);
    let error = world.verify(&Expectations { builder_id: Some("me".to_owned()), ..Expectations::default() });
    assert!(error.unwrap_err().contains("predicate type is"));
}

#[test]
fn what_is_signed_and_no_statement_is_refused() {
    let world = World::new();
    for (change, words) in [
        (json!({"_type": "https://in-toto.io/Statement/v0.1"}), "its type is"),
        (json!({"subject": []}), "about no file"),
        (json!({"subject": [{"name": "a.img", "digest": {"md5": "00"}}]}), "about no file"),
        (json!({"subject": 7}), "no statement"),
        (json!({"predicate": 7}), "no SLSA provenance"),
    ] {
        let mut statement = provenance();
        for (name, value) in change.as_object().unwrap() {
            statement[name] = value.clone();
        }
        world.sign(&statement);
        let error = world.verify(&Expectations::default()).unwrap_err();
        assert!(error.contains(words), "{change}: {error}");
    }
    std::fs::write(world.path("a.json"), "x").unwrap();
    assert!(world.verify(&Expectations::default()).unwrap_err().contains("no DSSE envelope"));
    std::fs::File::create(world.path("a.json")).unwrap().set_len(MAX_ENVELOPE + 1).unwrap();
    assert!(world.verify(&Expectations::default()).unwrap_err().contains("cannot read"));
}

#[test]
fn a_subject_that_leads_elsewhere_is_not_opened() {
    let world = World::new();
    let mut statement = provenance();
    for name in ["../a.img", "/etc/passwd", "", "..", "./a.img", "x/../a.img", "a.img/"] {
        statement["subject"] = json!([{"name": name, "digest": sha256("00")}]);
        world.sign(&statement);
        let verified = world.verify(&Expectations::default()).unwrap();
        assert_eq!(verified.subjects[0].file, None, "{name}");
    }
}

#[test]
fn who_does_not_wait_is_heard() {
    let world = World::new();
    world.sign(&provenance());
    let stopped =
        verify(&world.path("a.json"), world.key.verifying(), &Expectations::default(), &|_, _| ControlFlow::Break(()));
    assert!(stopped.unwrap_err().is_cancelled());
}
