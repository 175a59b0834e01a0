//! Post-processors one behind the other: what each is given, and what is left when all have run or one has failed.

use std::path::Path;
use std::process::Command;

use kiln_builder::{Event, Fault, Sweep, sweep};

use super::tools;
use super::world::World;

const NOTE: &str = "files/note.txt";

/// A template that makes `NOTE`, with `rest` in its build; `ROOT` in it is the world's directory.
pub(super) fn template(world: &World, rest: &str) -> String {
    let root = world.path("").display().to_string();
    let rest = rest.replace("ROOT/", &root);
    format!(
        "source \"file\" \"note\" {{\n content = \"abc\"\n target = {:?}\n}}\nbuild {{\n sources = [\"file.note\"]\n{rest}\n}}\n",
        world.path(NOTE)
    )
}

/// The artifacts that were told at the end: who made each, and its files.
fn artifacts(world: &World) -> Vec<(String, Vec<String>)> {
    let events = world.events.lock().unwrap();
    let told = events.iter().filter_map(|event| match event {
        Event::Artifact { builder_id, files, .. } => {
            let name = |file: &std::path::PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
            Some((builder_id.rsplit('.').next().unwrap().to_owned(), files.iter().map(name).collect()))
        }
        _ => None,
    });
    told.collect()
}

/// What `tool` says of `file`.
fn judge(tool: &str, arguments: &[&str], file: &Path) -> String {
    let ran = Command::new(tool).args(arguments).arg(file).output().unwrap();
    assert!(ran.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

const COMPRESS: &str = "post-processor \"compress\" {\n output = \"ROOT/files/out.tar.gz\"\n KEEP\n}\n";
const MANIFEST: &str = "post-processor \"manifest\" {\n output = \"ROOT/manifest.json\"\n KEEP\n}\n";
const CHECKSUM: &str =
    "post-processor \"checksum\" {\n checksum_types = [\"md5\"]\n output = \"ROOT/files/sum\"\n KEEP\n}\n";
/// The built file, by another name.
const ARTIFICE: &str = "post-processor \"artifice\" {\n files = [\"ROOT/./files/note.txt\"]\n KEEP\n}\n";
const FAILS: &str = "post-processor \"shell-local\" {\n inline = [\"exit 3\"]\n}\n";

fn sequence(parts: &[&str]) -> String {
    format!("post-processors {{\n{}}}\n", parts.concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_builder_left_goes_only_when_all_has_been_done() {
    let keep = |part: &str| part.replace("KEEP", "keep_input_artifact = true");
    let (kept_compress, kept_manifest) = (keep(COMPRESS), keep(MANIFEST));
    let not_kept = MANIFEST.replace("KEEP", "keep_input_artifact = false");
    for (rest, exit_code, left) in [
        (COMPRESS.to_owned(), 0, &["out.tar.gz"][..]),
        (kept_compress.clone(), 0, &["note.txt", "out.tar.gz"]),
        // The manifest hands on what it is given, and cannot be told to drop it; compress does.
        (sequence(&[MANIFEST, COMPRESS]), 0, &["out.tar.gz"]),
        (not_kept, 0, &["note.txt"]),
        (sequence(&[&kept_manifest, COMPRESS]), 0, &["note.txt", "out.tar.gz"]),
        (sequence(&[CHECKSUM, COMPRESS]), 0, &["out.tar.gz"]),
        (sequence(&[&keep(ARTIFICE), COMPRESS]), 0, &["note.txt", "out.tar.gz"]),
        // A sequence that follows finds it.
        (sequence(&[MANIFEST, COMPRESS]) + CHECKSUM, 0, &["out.tar.gz", "sum"]),
        (COMPRESS.to_owned() + MANIFEST, 0, &["note.txt", "out.tar.gz"]),
        // Whatever fails, it stays.
        (sequence(&[COMPRESS, FAILS]), 1, &["note.txt", "out.tar.gz"]),
        (sequence(&[MANIFEST, COMPRESS, FAILS]), 1, &["note.txt", "out.tar.gz"]),
        (sequence(&[ARTIFICE, COMPRESS, FAILS]), 1, &["note.txt", "out.tar.gz"]),
        (COMPRESS.to_owned() + FAILS, 1, &["note.txt", "out.tar.gz"]),
        (FAILS.to_owned() + COMPRESS, 1, &["note.txt", "out.tar.gz"]),
    ] {
        let world = World::new();
        let rest = rest.replace("KEEP", "");
        let outcome = world.run(&template(&world, &rest)).await;
        assert_eq!(outcome.exit_code, exit_code, "{rest}: {}", world.text());
        assert_eq!(world.files("files"), left, "{rest}: {}", world.text());
        let told = artifacts(&world).first().is_some_and(|(maker, _)| maker == "file");
        assert_eq!(told, left.contains(&"note.txt"), "{rest}: {:?}", artifacts(&world));
        assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_hands_its_files_from_one_to_the_next() {
    if !["tar", "zstd", "sha256sum"].into_iter().all(tools::has) {
        return;
    }
    let world = World::new();
    for (name, text) in [("a.img", "a"), ("b.img", "bb")] {
        std::fs::write(world.path(name), text).unwrap();
    }
    let rest = sequence(&[
        "post-processor \"artifice\" {\n files = [\"ROOT/*.img\", \"ROOT/b.*\", \"ROOT/none\"]\n}\n",
        "post-processor \"compress\" {\n output = \"ROOT/files/{{ .BuildName }}.tar.zst\"\n keep_input_artifact = true\n}\n",
        "post-processor \"checksum\" {\n checksum_types = [\"sha256\"]\n output = \"ROOT/files/SHA256SUMS\"\n}\n",
        "post-processor \"manifest\" {\n output = \"ROOT/files/manifest.json\"\n strip_path = true\n}\n",
    ]);
    let outcome = world.run(&template(&world, &rest)).await;
    let text = world.text();
    assert_eq!(outcome.exit_code, 0, "{text}");
    let root = world.path("").display().to_string();
    for words in [
        format!("Discarding files from artifact: {root}files/note.txt"),
        format!("Using these artifact files: {root}a.img, {root}b.img"),
        format!("Warning: no file matches \"{root}none\""),
        format!("Tarring {root}files/note.tar.zst with zstd"),
        format!("Archive {root}files/note.tar.zst completed"),
    ] {
        assert!(text.contains(&words), "{words}: {text}");
    }
    assert_eq!(world.files("files"), ["SHA256SUMS", "manifest.json", "note.tar.zst", "note.txt"]);
    let archive = world.path("files/note.tar.zst");
    assert_eq!(judge("tar", &["--zstd", "-tf"], &archive), "a.img\nb.img\n");
    assert_eq!(judge("tar", &["--zstd", "-xOf"], &archive), "abb");
    let sums = std::fs::read_to_string(world.path("files/SHA256SUMS")).unwrap();
    assert_eq!(sums.split('\t').next(), judge("sha256sum", &[], &archive).split(' ').next());
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("files/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["builds"][0]["files"][0]["name"], "note.tar.zst");
    let steps = world.steps();
    let expected = ["artifice", "compress", "checksum", "manifest"];
    let expected: Vec<String> =
        expected.iter().zip(1..).map(|(kind, number)| format!("post-processor {number} ({kind})")).collect();
    assert_eq!(steps[steps.len() - 4..], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_processor_that_fails_says_what_is_kept_and_how_to_go_on_with_it() {
    let world = World::new();
    assert_eq!(world.run(&template(&world, FAILS)).await.exit_code, 1);
    let note = world.path(NOTE).display().to_string();
    let (text, error) = (world.text(), world.error().unwrap());
    assert!(error.ends_with(&format!("What was built is whole, and kept: {note}")), "{error}");
    let artifice = format!("post-processor \"artifice\" {{ files = [{note:?}] }}");
    assert!(text.contains(&artifice), "{text}");
    // It is as it says.
    let artifice = artifice.replace("{ ", "{\n").replace(" }", "\n}\n");
    let again = format!(
        "source \"null\" \"again\" {{\n communicator = \"none\"\n}}\nbuild {{\n sources = [\"null.again\"]\n{}\n}}\n",
        sequence(&[&artifice, &CHECKSUM.replace("KEEP", "").replace("ROOT/", &world.path("").display().to_string())])
    );
    assert_eq!(world.run(&again).await.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("files"), ["note.txt", "sum"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_post_processor_leaves_is_told_file_by_file_and_not_when_it_is_gone() {
    let world = World::new();
    assert_eq!(world.run(&world.template("disk_additional_size = [\"1M\"]", FAILS)).await.exit_code, 1);
    let [first, second] = ["web", "web-1"].map(|name| world.path("out").join(name).display().to_string());
    assert!(world.text().contains(&format!("{{ files = [{first:?}, {second:?}] }}")), "{}", world.text());
    let world = World::new();
    let moves = "post-processor \"shell-local\" {\n inline = [\"rm 'ROOT/files/note.txt'; exit 3\"]\n}\n";
    assert_eq!(world.run(&template(&world, moves)).await.exit_code, 1);
    assert!(!world.text().contains("and kept: "), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifice_owns_its_files_and_the_build_keeps_its_own() {
    let world = World::new();
    std::fs::write(world.path("a.img"), "a").unwrap();
    let artifice = "post-processor \"artifice\" {\n files = [\"ROOT/a.img\"]\n}\n";
    let outcome = world.run(&template(&world, &sequence(&[artifice, &COMPRESS.replace("KEEP", "")]))).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("files"), ["note.txt", "out.tar.gz"]);
    assert!(!world.path("a.img").exists(), "compress does not keep what it is given");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compress_writes_each_format_and_refuses_what_it_cannot_write() {
    for (options, file, tool, arguments) in [
        ("output = \"ROOT/files/out.tar\"", "out.tar", "tar", &["-xOf"][..]),
        ("output = \"ROOT/files/out.tar.gz\"\n compression_level = 9", "out.tar.gz", "tar", &["-xzOf"]),
        ("output = \"ROOT/files/out.gz\"", "out.gz", "gzip", &["-dc"]),
        ("output = \"ROOT/files/out.zip\"\n compression_level = 100", "out.zip", "unzip", &["-p"]),
        ("output = \"ROOT/files/out.lz4\"\n compression_level = 3", "out.lz4", "lz4", &["-dc"]),
        ("output = \"ROOT/files/out.tar.lz4\"", "out.tar.lz4", "tar", &["-Ilz4", "-xOf"]),
        ("output = \"ROOT/files/out.xz\"\n compression_level = 1", "out.xz", "xz", &["-dc"]),
        ("output = \"ROOT/files/out.bzip2\"", "out.bzip2", "bzip2", &["-dc"]),
        ("output = \"ROOT/files/out.bgzf\"\n compression_level = -1", "out.bgzf", "gzip", &["-dc", "--suffix=.bgzf"]),
        ("output = \"ROOT/files/out\"\n format = \"zst\"", "out", "zstd", &["-dc"]),
        ("output = \"ROOT/files/new/folder/out.tar\"\n algorithm = \"xz\"", "new/folder/out.tar", "tar", &["-xJOf"]),
        ("output = \"ROOT/files/out.gz\"\n archive = \"tar\"", "out.gz", "tar", &["-xzOf"]),
    ] {
        // `tar` calls the others.
        let needed = [tool, arguments[0].strip_prefix("-I").unwrap_or(tool)];
        if !needed.into_iter().all(tools::has) {
            continue;
        }
        let world = World::new();
        let rest = format!("post-processor \"compress\" {{\n {options}\n}}\n");
        let outcome = world.run(&template(&world, &rest)).await;
        assert_eq!(outcome.exit_code, 0, "{options}: {}", world.text());
        assert_eq!(judge(tool, arguments, &world.path("files").join(file)), "abc", "{options}");
        let mode = |path: &Path| std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o777;
        assert_eq!(mode(&world.path("files").join(file)), mode(&world.path("seed")), "{options}: as any file");
    }
    for (rest, words) in [
        (
            "post-processor \"compress\" {\n output = \"ROOT/files/../files/note.txt\"\n}\n".to_owned(),
            "a file of the artifact itself",
        ),
        ("post-processor \"compress\" {\n compression_level = -2\n}\n".to_owned(), "must be -1"),
        ("post-processor \"compress\" {\n output = \"{{ .Nonsense }}\"\n}\n".to_owned(), "Nonsense"),
        (
            sequence(&[CHECKSUM, "post-processor \"compress\" {\n output = \"ROOT/files/out.gz\"\n}\n"])
                .replace("KEEP", ""),
            "Can only have 1 input file when not using tar/zip",
        ),
        ("post-processor \"artifice\" {}\n".to_owned(), "files must be set"),
        ("post-processor \"artifice\" {\n files = [\"[a\"]\n}\n".to_owned(), "Invalid glob"),
    ] {
        let world = World::new();
        let outcome = world.run(&template(&world, &rest)).await;
        assert!(outcome.exit_code == 1 && world.text().contains(words), "{rest}: {}", world.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compress_that_fails_or_is_cancelled_leaves_the_image_and_no_part_of_an_archive() {
    for cancel in [false, true] {
        let mut world = World::new();
        world.fault = Some(Fault { step: "post-processor 1 (compress)", cancel });
        let outcome = world.run(&template(&world, &COMPRESS.replace("KEEP", ""))).await;
        assert!(outcome.exit_code != 0 || outcome.cancelled, "{}", world.text());
        let files = world.files("files");
        // One that fails after its work has left its file whole.
        assert!(files.iter().all(|name| ["note.txt", "out.tar.gz"].contains(&name.as_str())), "{files:?}");
        assert!(world.path(NOTE).exists());
    }
    // A directory in the archive's place is told before anything is built, or as soon as its name is known.
    for (output, words, left) in [
        ("out.tar.gz", "A directory, not a file", &["out.tar.gz"][..]),
        ("{{.BuildName}}.tar.gz", "note.tar.gz", &["note.tar.gz", "note.txt"]),
    ] {
        let world = World::new();
        std::fs::create_dir_all(world.path("files").join(left[0])).unwrap();
        let compress = COMPRESS.replace("KEEP", "").replace("out.tar.gz", output);
        assert_eq!(world.run(&template(&world, &compress)).await.exit_code, 1);
        assert!(world.text().contains(words), "{}", world.text());
        assert_eq!(world.files("files"), left);
        assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_and_except_choose_post_processors() {
    let part = |name: &str, rest: &str| {
        format!("post-processor \"manifest\" {{\n name = {name:?}\n output = \"ROOT/files/{name}\"\n {rest}\n}}\n")
    };
    for (parts, except, left) in [
        // A name of -except takes those behind it along; one that leaves itself out does not.
        (["", "", ""], Some("two"), &["note.txt", "one"][..]),
        (["", "except = [\"file.note\"]", ""], None, &["note.txt", "one", "three"]),
        (["", "only = [\"file.other\"]", ""], None, &["note.txt", "one", "three"]),
        (["", "only = [\"file.note\"]", ""], Some("man*"), &["note.txt", "one", "three", "two"]),
    ] {
        let world = World::new();
        let names = ["one", "two", "three"];
        let parts: Vec<String> = names.iter().zip(parts).map(|(name, rest)| part(name, rest)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let mut request = world.check_request(&template(&world, &sequence(&parts)));
        request.except = except.map(str::to_owned).into_iter().collect();
        let outcome = world.run_request(request).await;
        assert_eq!(outcome.exit_code, 0, "{}", world.text());
        assert_eq!(world.files("files"), left, "{except:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checksums_are_not_written_into_what_they_are_of() {
    let world = World::new();
    let rest = "post-processor \"checksum\" {\n checksum_types = [\"md5\"]\n output = \"ROOT/./files/note.txt\"\n}\n";
    let outcome = world.run(&template(&world, rest)).await;
    assert_eq!(outcome.exit_code, 1, "{}", world.text());
    assert!(world.text().contains("is a file of the artifact itself"), "{}", world.text());
    assert_eq!(std::fs::read_to_string(world.path(NOTE)).unwrap(), "abc");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_leaves_alone_what_has_the_name_of_its_lock() {
    let world = World::new();
    let rest = MANIFEST.replace("KEEP", "");
    let lock = world.path("manifest.json.lock");
    std::fs::write(&lock, "somebody's").unwrap();
    let outcome = world.run(&template(&world, &rest)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "somebody's");
    // A link is nobody's lock.
    let victim = world.path("victim");
    std::fs::write(&victim, "").unwrap();
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&victim, &lock).unwrap();
    let outcome = world.run(&template(&world, &rest)).await;
    assert_eq!(outcome.exit_code, 1, "{}", world.text());
    assert!(victim.exists() && lock.is_symlink());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_tells_no_time_and_a_script_of_this_machine_has_the_name_that_is_asked_for() {
    let world = World::new();
    let rest = "provisioner \"shell-local\" {\n inline = [\"echo I am $0 $-\"]\n inline_shebang = \"/bin/sh -eu\"\n tempfile_extension = \".xyz\"\n}\n\
                post-processor \"manifest\" {\n output = \"ROOT/manifest.json\"\n strip_time = true\n}\n";
    assert_eq!(world.run(&template(&world, rest)).await.exit_code, 0, "{}", world.text());
    let manifest = std::fs::read_to_string(world.path("manifest.json")).unwrap();
    assert!(manifest.contains("\"name\": \"note\"") && !manifest.contains("build_time"), "{manifest}");
    let text = world.text();
    let line = text.lines().find(|line| line.starts_with("I am ")).unwrap_or_else(|| panic!("{text}"));
    let switches = line.rsplit(' ').next().unwrap();
    assert!(line.contains(".xyz ") && switches.contains('e') && switches.contains('u'), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_script_knows_the_run_that_the_manifest_names() {
    let world = World::new();
    let local =
        |name: &str| format!("\"shell-local\" {{\n inline = [\"printf %s $PACKER_RUN_UUID > ROOT/{name}\"]\n}}\n");
    let (provisioner, post_processor) = (local("before"), local("after"));
    let rest = format!("provisioner {provisioner}post-processor {post_processor}{}", MANIFEST.replace("KEEP", ""));
    assert_eq!(world.run(&template(&world, &rest)).await.exit_code, 0, "{}", world.text());
    let manifest = std::fs::read(world.path("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let run = manifest["last_run_uuid"].as_str().unwrap();
    assert!(!run.is_empty());
    for name in ["before", "after"] {
        assert_eq!(std::fs::read_to_string(world.path(name)).unwrap(), run, "{name}");
    }
}
