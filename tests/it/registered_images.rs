//! `kiln images`: what a build has registered is listed, forgotten, and told to be unusable when its file is gone.

use kiln_tests::Home;
use serde_json::Value;

const TEMPLATE: &str = r#"
source "file" "disk" {
  content = "not much of a disk"
  target  = "out/disk.raw"
}
build {
  sources = ["file.disk"]
  post-processor "kiln-image" {
    image_name = "base"
    channels   = ["latest", "stable"]
  }
  post-processor "kiln-image" {
    image_name = "other"
  }
}
"#;

fn listed(home: &Home) -> Vec<(String, bool)> {
    let ran = home.kiln(["images", "--json"]).expect(0);
    let list: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let called = |image: &Value| format!("{}@{}", image["name"].as_str().unwrap(), image["channel"].as_str().unwrap());
    list.iter().map(|image| (called(image), image.get("unusable").is_none())).collect()
}

#[test]
fn images_are_listed_and_forgotten_and_their_files_stay() {
    let home = Home::new();
    assert!(home.kiln(["images"]).expect(0).stderr.contains("no images yet"));
    std::fs::write(home.work("disk.pkr.hcl"), TEMPLATE).unwrap();
    home.kiln(["build", "disk.pkr.hcl"]).expect(0);
    let is_there = |name: &str, usable: bool| (name.to_owned(), usable);
    let all = [is_there("base@latest", true), is_there("base@stable", true), is_there("other@latest", true)];
    assert_eq!(listed(&home), all);
    let table = home.kiln(["images"]).expect(0).stdout;
    assert!(table.lines().any(|line| line.starts_with("base@stable") && line.ends_with("out/disk.raw")), "{table}");
    let ran = home.kiln(["images", "rm", "base@stable", "nobody"]).expect(1);
    assert!(ran.stderr.contains("base@stable is forgotten"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("there is no image \"nobody\"; there are: base (latest), other (latest)"),
        "{}",
        ran.stderr
    );
    assert_eq!(listed(&home), [is_there("base@latest", true), is_there("other@latest", true)]);
    assert!(home.work("out/disk.raw").exists());
    home.kiln(["images", "rm", "base"]).expect(0);
    std::fs::remove_file(home.work("out/disk.raw")).unwrap();
    assert_eq!(listed(&home), [is_there("other@latest", false)]);
    let ran = home.kiln(["images", "prune"]).expect(0);
    assert!(
        ran.stderr.contains("other@latest is forgotten: ") && ran.stderr.contains("build it again"),
        "{}",
        ran.stderr
    );
    assert!(home.kiln(["images", "prune"]).expect(0).stderr.contains("nothing to forget"));
    assert_eq!(listed(&home), []);
}
