//! Disks for machines whose firmware is UEFI, and the firmware: FAT with what it finds there, plain or on a partition of a GPT.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use kiln_tests::Home;

/// Runs a program that has to succeed; returns what it wrote.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Tells whether a firmware of Debian is here; says so when it is not.
#[expect(clippy::print_stderr, reason = "the test runner's output is where this belongs")]
pub(crate) fn firmware(code: &str) -> bool {
    let found = Path::new(code).is_file();
    assert!(found || std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs {code}");
    if !found {
        eprintln!("ignored: needs {code}");
    }
    found
}

/// Makes a disk with a FAT file system and these files; directories are made for them.
pub(crate) fn fat_disk(home: &Home, name: &str, files: &[(&str, &[u8])]) {
    let disk = home.work(name).display().to_string();
    succeed(Command::new("mformat").args(["-C", "-T", "16384", "-i", &disk, "::"]));
    fill(home, &disk, files);
}

/// Makes a disk with a GPT, whose only partition, a system partition, has a FAT file system with these files.
pub(crate) fn gpt_disk(home: &Home, name: &str, files: &[(&str, &[u8])]) {
    let (disk, table) = (home.work(name), home.work("table"));
    File::create(&disk).unwrap().set_len(48 << 20).unwrap();
    std::fs::write(&table, "label: gpt\nstart=2048, size=90112, type=U\n").unwrap();
    succeed(Command::new("sfdisk").arg("--quiet").arg(&disk).stdin(File::open(&table).unwrap()));
    let partition = format!("{}@@1M", disk.display());
    succeed(Command::new("mformat").args(["-T", "90112", "-i", &partition, "::"]));
    fill(home, &partition, files);
}

/// Puts files into a file system as mtools name it.
fn fill(home: &Home, image: &str, files: &[(&str, &[u8])]) {
    for (path, bytes) in files {
        let mut directory = String::from("::");
        for part in Path::new(path).parent().into_iter().flatten() {
            directory = format!("{directory}/{}", part.display());
            succeed(Command::new("mmd").args(["-D", "s", "-i", image, &directory]));
        }
        let file = home.work("file");
        std::fs::write(&file, bytes).unwrap();
        succeed(Command::new("mcopy").args(["-i", image]).arg(&file).arg(format!("::/{path}")));
    }
}
