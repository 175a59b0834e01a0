//! The Debian package and the archive that `systemd/package/make` packs: what is in them, that the same input gives the same bytes, and
//! that they are installed, upgraded under a running job and removed without a trace.

mod archive;
mod debian_package;
mod installed_system;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kiln_tests::{program, root, tool};

/// The time of every file in what the tests pack.
const EPOCH: &str = "1700000000";

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Packs the programs under test; returns what is in `out` then: the package and the archive.
fn make(binaries: &Path, out: &Path, mask: &str, zone: &str) -> (PathBuf, PathBuf) {
    let script = source().join("systemd/package/make");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]).arg(script).arg("--quick").arg(binaries).arg(out);
    let output = shell.env("SOURCE_DATE_EPOCH", EPOCH).env("TZ", zone).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut made: Vec<_> = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    made.sort();
    let [archive, package] = &made[..] else { panic!("{made:?}") };
    assert!(package.extension().is_some_and(|suffix| suffix == "deb"), "{made:?}");
    (package.clone(), archive.clone())
}

/// The package and the archive of the programs under test, packed once; `None` (said aloud) where that cannot be done.
fn packages() -> Option<&'static (PathBuf, PathBuf)> {
    static PACKED: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    if !(tool("dpkg-deb") && tool("dpkg-shlibdeps") && tool("strip") && tool("python3")) {
        return None;
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    Some(PACKED.get_or_init(|| {
        if out.exists() {
            std::fs::remove_dir_all(&out).unwrap();
        }
        make(program("kiln").parent().unwrap(), &out, "022", "UTC")
    }))
}

/// Tells whether a system of its own can be had for a test: root, mounts, dpkg.
fn can_have_a_system() -> bool {
    root() && tool("unshare") && tool("nsenter") && tool("dpkg")
}

/// Files of the package with their modes and owners, from a listing as `tar tv` writes it.
fn listed(listing: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8(listing.to_vec()).unwrap();
    let lines = text.lines().map(|line| {
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next().unwrap(), words.next().unwrap());
        (words.nth(3).unwrap().trim_start_matches("./").to_owned(), format!("{mode} {owner}"))
    });
    lines.filter(|(path, _)| !path.is_empty()).collect()
}

#[test]
fn the_package_holds_what_belongs_to_it_and_nothing_else() {
    let Some((package, _)) = packages() else { return };
    let listing = Command::new("dpkg-deb").arg("--contents").arg(package).output().unwrap();
    let mut found = listed(&listing.stdout);
    let directories: Vec<_> = found.keys().filter(|path| path.ends_with('/')).cloned().collect();
    for path in directories {
        assert_eq!(found.remove(&path).unwrap(), "drwxr-xr-x root/root", "{path}");
    }
    let files_of = |folder: &str| {
        let entries = std::fs::read_dir(source().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
    };
    let doc = "usr/share/doc/kiln";
    let mut expected = BTreeMap::new();
    for path in ["usr/bin/kiln", "usr/bin/kilnd"] {
        expected.insert(path.to_owned(), "-rwxr-xr-x root/root".to_owned());
    }
    let units = files_of("systemd/units/user").map(|name| format!("usr/lib/systemd/user/{name}"));
    let system_units = files_of("systemd/units/system").map(|name| format!("usr/lib/systemd/system/{name}"));
    let of_the_system = [
        "lib/systemd/catalog/kiln.catalog",
        "lib/systemd/system-preset/60-kilnd.preset",
        "lib/systemd/user-preset/60-kilnd.preset",
        "lib/sysusers.d/kiln.conf",
        "lib/tmpfiles.d/kiln.conf",
        "share/dbus-1/system-services/org.kiln.Kiln1.service",
        "share/dbus-1/system.d/org.kiln.Kiln1.conf",
        "share/polkit-1/actions/org.kiln.Kiln1.policy",
        "share/polkit-1/rules.d/60-kiln.rules",
        "share/lintian/overrides/kiln",
    ];
    let pages = files_of("docs/man").map(|name| {
        let (_, section) = name.rsplit_once('.').unwrap();
        format!("usr/share/man/man{section}/{name}.gz")
    });
    let documents = files_of("docs").map(|name| format!("{doc}/docs/{name}"));
    let components = files_of("docs/components").map(|name| format!("{doc}/docs/components/{name}"));
    let others = [
        "README.md",
        "CHANGELOG.md",
        "copyright",
        "changelog.gz",
        "THIRD-PARTY.gz",
        "examples/tiny/tiny.pkr.hcl",
        "examples/desktop/build.py",
    ];
    let completions =
        ["bash-completion/completions/kiln", "zsh/vendor-completions/_kiln", "fish/vendor_completions.d/kiln.fish"];
    let dbus = ["services/org.kiln.Kiln1.service", "interfaces/org.kiln.Kiln1.xml"];
    let data = units
        .chain(system_units)
        .chain(of_the_system.map(|path| format!("usr/{path}")))
        .chain(dbus.map(|name| format!("usr/share/dbus-1/{name}")))
        .chain(pages)
        .chain(documents)
        .chain(components)
        .chain(others.map(|name| format!("{doc}/{name}")))
        .chain(completions.map(|name| format!("usr/share/{name}")));
    expected.extend(data.map(|path| (path, "-rw-r--r-- root/root".to_owned())));
    assert_eq!(found, expected);

    let field = |name: &str| {
        let output = Command::new("dpkg-deb").arg("--field").arg(package).arg(name).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(field("Version"), version);
    let name = package.file_name().unwrap().to_str().unwrap();
    assert_eq!(name, format!("kiln_{version}_{}.deb", field("Architecture")));
    let depends = field("Depends");
    let needed: Vec<_> = depends.split(", ").map(|one| one.split(' ').next().unwrap()).collect();
    assert_eq!(needed, ["libc6", "libgcc-s1"], "glibc, and nothing that is not on every Debian");
    // What dpkg-shlibdeps does not see: packed relocations need a newer C library than the functions.
    let needs = Command::new("readelf").arg("--version-info").arg(program("kiln")).output().unwrap();
    if String::from_utf8_lossy(&needs.stdout).contains("GLIBC_ABI_DT_RELR") {
        assert!(depends.contains("libc6 (>= 2.36)"), "{depends}");
    }
    let scripts = Command::new("dpkg-deb").arg("--ctrl-tarfile").arg(package).output().unwrap().stdout;
    let scripts = String::from_utf8_lossy(&scripts);
    for name in ["md5sums", "postinst", "prerm", "postrm"] {
        assert!(scripts.contains(&format!("./{name}\0")), "{name}");
    }
}

#[test]
fn lintian_finds_nothing_that_is_not_explained() {
    let Some((package, _)) = packages() else { return };
    if !tool("lintian") {
        return;
    }
    // Each override says why it is one.
    let mut command = Command::new("lintian");
    command.args(["--allow-root", "--display-info", "--fail-on", "error,warning,info", "--tag-display-limit", "0"]);
    let output = command.arg(package).env("LC_ALL", "C.UTF-8").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_licences_of_what_is_linked_in_are_told() {
    let Some((package, _)) = packages() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let status = Command::new("dpkg-deb").arg("--extract").arg(package).arg(scratch.path()).status().unwrap();
    assert!(status.success());
    let doc = scratch.path().join("usr/share/doc/kiln");
    let copyright = std::fs::read_to_string(doc.join("copyright")).unwrap();
    for words in
        ["The Kiln developers", "License: Apache-2.0 or Expat", " tokio 1", " libsqlite3-sys ", "Permission is hereby"]
    {
        assert!(copyright.contains(words), "{words}: {copyright}");
    }
    assert!(!copyright.contains(" proptest ") && !copyright.contains(" kiln-"), "what only tests link, or is ours");
    let texts = Command::new("zcat").arg(doc.join("THIRD-PARTY.gz")).output().unwrap();
    let texts = String::from_utf8(texts.stdout).unwrap();
    assert!(texts.contains("Tokio Contributors") && texts.len() > 100_000, "{} bytes", texts.len());
}

#[test]
fn the_same_programs_give_the_same_bytes() {
    let Some((package, archive)) = packages() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let binaries = scratch.path().join("programs");
    std::fs::create_dir(&binaries).unwrap();
    for name in ["kiln", "kilnd"] {
        std::fs::copy(program(name), binaries.join(name)).unwrap();
    }
    let (again, archive_again) = make(&binaries, &scratch.path().join("out"), "077", "Asia/Tokyo");
    assert!(std::fs::read(package).unwrap() == std::fs::read(again).unwrap(), "the packages differ");
    assert!(std::fs::read(archive).unwrap() == std::fs::read(archive_again).unwrap(), "the archives differ");
}
