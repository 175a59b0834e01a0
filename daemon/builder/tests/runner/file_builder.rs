//! The file builder: its file, its provisioners and post-processors, and what it removes.

use kiln_builder::{Sweep, sweep};

use super::world::World;

const NOTE: &str = "files/note.txt";

/// A template that makes `NOTE` of three letters.
fn note(world: &World, rest: &str) -> String {
    let target = world.path(NOTE);
    format!(
        r#"
source "file" "note" {{
  content = "abc"
  target  = {target:?}
}}
build {{
  sources = ["file.note"]
  {rest}
}}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_builder_feeds_manifest_and_checksum() {
    let world = World::new();
    let root = world.path("files").display().to_string();
    let rest = format!(
        r#"
  post-processor "checksum" {{
    checksum_types = ["md5", "sha256"]
    output         = "{root}/{{{{.BuildName}}}}.{{{{.ChecksumType}}}}"
  }}
  post-processor "manifest" {{
    output     = "{root}/manifest.json"
    strip_path = true
  }}
"#
    );
    let outcome = world.run(&note(&world, &rest)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("files"), ["manifest.json", "note.md5", "note.sha256", "note.txt"]);
    let sum = std::fs::read_to_string(world.path("files/note.md5")).unwrap();
    assert_eq!(sum, "900150983cd24fb0d6963f7d28e17f72\tnote.txt\n");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("files/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["builds"][0]["name"], "note");
    assert_eq!(manifest["builds"][0]["files"][0]["name"], "note.txt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_builder_runs_provisioners() {
    for (provisioner, exit_code, said) in [
        ("provisioner \"shell-local\" {\n inline = [\"echo PROVISIONER RAN\"]\n }", 0, "PROVISIONER RAN"),
        ("provisioner \"shell-local\" {\n inline = [\"echo PROVISIONER RAN\", \"exit 3\"]\n }", 1, "PROVISIONER RAN"),
        ("provisioner \"breakpoint\" { note = \"HERE\" }", 0, "HERE"),
        ("provisioner \"sleep\" { duration = \"1ms\" }", 0, ""),
        // There is no guest: that is told, not passed over.
        ("provisioner \"shell\" {\n inline = [\"true\"]\n }", 1, "works in the guest"),
        ("provisioner \"file\" {\n content = \"x\"\n destination = \"/tmp/x\"\n }", 1, "works in the guest"),
    ] {
        let world = World::new();
        let cleanup = "error-cleanup-provisioner \"shell-local\" {\n inline = [\"echo CLEANED UP\"]\n }";
        let outcome = world.run(&note(&world, &format!("{provisioner}\n  {cleanup}"))).await;
        let text = world.text();
        assert_eq!(outcome.exit_code, exit_code, "{provisioner}: {text}");
        assert!(text.contains(said), "{provisioner}: {text}");
        // A cleanup provisioner runs after a failure of an earlier one; a template that is refused runs nothing.
        if exit_code == 1 && !world.steps().is_empty() {
            assert!(text.contains("CLEANED UP"), "{provisioner}: {text}");
        }
        assert_eq!(world.path(NOTE).exists(), exit_code == 0, "{provisioner}");
    }
    let world = World::new();
    let json = format!(
        r#"{{"builders":[{{"type":"file","content":"x","target":{:?}}}],
             "provisioners":[{{"type":"shell-local","inline":["echo JSON PROV RAN", "exit 3"]}}]}}"#,
        world.path(NOTE)
    );
    let mut request = world.check_request("");
    request.template = world.path("j.json");
    std::fs::write(&request.template, json).unwrap();
    let outcome = world.run_request(request).await;
    assert_eq!(outcome.exit_code, 1, "{}", world.text());
    assert!(world.text().contains("JSON PROV RAN"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_builder_removes_only_its_own_file() {
    for (script, left) in [("exit 3", None), ("mv OTHER NOTE && exit 3", Some("other"))] {
        let world = World::new();
        let (other, own) = (world.path("other"), world.path(NOTE));
        std::fs::write(&other, "other").unwrap();
        let script = script.replace("OTHER", other.to_str().unwrap()).replace("NOTE", own.to_str().unwrap());
        let provisioner = format!("provisioner \"shell-local\" {{ inline = [\"{script}\"] }}");
        assert_eq!(world.run(&note(&world, &provisioner)).await.exit_code, 1, "{}", world.text());
        assert_eq!(std::fs::read_to_string(own).ok().as_deref(), left);
        assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_with_one_target_are_refused() {
    let world = World::new();
    let source = |name: &str, target: &str| {
        let target = world.path(target);
        format!("source \"file\" \"{name}\" {{\n content = \"x\"\n target = {target:?}\n}}\n")
    };
    let sources = format!("{}{}", source("a", "same.txt"), source("b", "x/../same.txt"));
    let outcome = world.run(&format!("{sources}build {{\n sources = [\"file.a\", \"file.b\"]\n}}\n")).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(world.text().contains("file.b and file.a would both write into"), "{}", world.text());
    assert!(!world.path("same.txt").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_a_copy_or_empty() {
    let world = World::new();
    let (source, target) = (world.path("source.bin"), world.path("target.bin"));
    let template = |option: &str| {
        format!(
            "source \"file\" \"a\" {{\n {option}\n target = {target:?}\n}}\nbuild {{\n sources = [\"file.a\"]\n}}\n"
        )
    };
    std::fs::write(&source, [0, 159, 146, 150]).unwrap();
    // What is there before is replaced.
    std::fs::write(&target, "an earlier one").unwrap();
    let outcome = world.run(&template(&format!("source = {source:?}"))).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(world.text().contains("Copied 4 bytes"), "{}", world.text());
    assert_eq!(std::fs::read(&target).unwrap(), [0, 159, 146, 150]);
    let world = World::new();
    assert_eq!(world.run(&template("")).await.exit_code, 0, "{}", world.text());
    assert_eq!(std::fs::read(&target).unwrap(), b"");
    std::fs::remove_file(&target).unwrap();

    let world = World::new();
    let outcome = world.run(&template("source = \"/nonexistent/x\"")).await;
    let text = world.text();
    assert!(outcome.exit_code == 1 && text.contains("/nonexistent/x") && text.contains("No such file"), "{text}");
    assert!(!target.exists(), "{text}");
}
