//! What users get wrong, told before anything is started: the place, the reason, a hint, exit code 1, nothing left.

use kiln_tests::{Home, Ran};

fn build(home: &Home, template: &str) -> Ran {
    home.write("bad.pkr.hcl", template);
    let ran = home.kiln(["build", "-color=false", "bad.pkr.hcl"]).expect(1);
    assert!(!home.work("out").exists() && home.leftovers().is_empty());
    ran
}

fn template(source: &str) -> String {
    format!(
        "source \"qemu\" \"x\" {{\n  headless = true\n  ssh_username = \"root\"\n  ssh_password = \"password\"\n  \
         shutdown_command = \"poweroff\"\n  output_directory = \"out\"\n{source}\n}}\nbuild {{\n  sources = [\"qemu.x\"]\n}}\n"
    )
}

#[test]
fn all_errors_are_listed_with_their_places() {
    let home = Home::new();
    let ran = build(
        &home,
        &template(
            "  iso_url = var.missing\n  iso_checksum = \"none\"\n  memroy = 512\n  disk_size = [1, 2]\n  cpus = \"many\"\n  \
             format = \"vdx\"\n  boot_command = [\"{{ .HTTPIPP }}\"]\n  qemu_binary = \"qemu-system-none\"",
        ),
    );
    for part in
        ["line 7", "line 9", "line 10", "line 11", "line 12", "line 13", "line 14", "memory", "bad.pkr.hcl", "^"]
    {
        assert!(ran.stdout.contains(part), "{part:?} is not in\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("Retrieving ISO"));
    // Both say at the end how many there were.
    for ran in [ran, home.kiln(["validate", "bad.pkr.hcl"]).expect(1)] {
        let errors = ran.stdout.lines().filter(|line| line.starts_with("Error: ")).count();
        assert!(errors > 5 && ran.stdout.trim_end().ends_with(&format!("\n\n{errors} errors")), "{}", ran.stdout);
    }
}

#[test]
fn a_missing_image_a_wrong_checksum_an_unreachable_url() {
    let home = Home::new();
    let ran = build(&home, &template("  iso_url = \"no-such.iso\"\n  iso_checksum = \"none\""));
    assert!(ran.stdout.contains("no-such.iso"), "{}", ran.stdout);
    assert!(ran.stdout.contains("hint: "), "{}", ran.stdout);
    home.write("some.iso", "not an image");
    let ran =
        build(&home, &template(&format!("  iso_url = \"some.iso\"\n  iso_checksum = \"sha256:{}\"", "0".repeat(64))));
    assert!(ran.stdout.contains("some.iso") && ran.stdout.contains(&"0".repeat(64)), "{}", ran.stdout);
    // Port 9 (discard) of this machine: nothing listens there.
    let ran = build(&home, &template("  iso_url = \"http://127.0.0.1:9/x.iso\"\n  iso_checksum = \"none\""));
    assert!(ran.stdout.contains("127.0.0.1:9") && ran.stdout.contains("hint: "), "{}", ran.stdout);
}

#[test]
fn a_used_output_directory_and_an_absent_qemu() {
    let home = Home::new();
    home.write("some.iso", "not an image");
    home.write("used/file", "precious");
    let text = template("  iso_url = \"some.iso\"\n  iso_checksum = \"none\"");
    let ran = build(&home, &text.replace("\"out\"", "\"used\""));
    assert!(ran.stdout.contains("already exists") && ran.stdout.contains("-force"), "{}", ran.stdout);
    assert!(home.work("used/file").exists());
    let ran = build(
        &home,
        &template(
            "  iso_url = \"some.iso\"\n  iso_checksum = \"none\"\n  accelerator = \"tcg\"\n  qemu_binary = \"qemu-system-none\"",
        ),
    );
    assert!(ran.stdout.contains("qemu-system-none") && ran.stdout.contains("hint: "), "{}", ran.stdout);
}

/// A wrong name may be told only after an ISO of gigabytes, unless QEMU is asked first.
#[test]
fn a_device_that_qemu_has_not_is_told_before_anything_is_fetched() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let program = home.work("qemu-system-x86_64");
    let script =
        format!("#!/bin/sh\necho start >> '{}'\nexec qemu-system-x86_64 \"$@\"\n", home.work("starts").display());
    home.write("qemu-system-x86_64", &script);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = template(&format!(
        "  iso_url = \"no-such.iso\"\n  iso_checksum = \"none\"\n  accelerator = \"tcg\"\n  qemu_binary = \"{}\"\n  \
         net_device = \"e1001\"\n  machine_type = \"q36\"\n  cpu_model = \"skylake-client\"\n  \
         qemuargs = [[\"-vga\", \"cirus\"]]",
        program.display()
    ));
    home.write("bad.pkr.hcl", &text);
    let validated = home.kiln(["validate", "bad.pkr.hcl"]);
    assert!(!home.work("starts").exists(), "validate starts no QEMU: {}", validated.stdout);
    // It is there, but is not looked at.
    home.write("no-such.iso", "not an image");
    home.kiln(["validate", "bad.pkr.hcl"]).expect(0);
    let ran = build(&home, &text);
    for part in [
        "machine_type: ",
        "has no machine type called q36 (it has q35, ",
        "cpu_model: ",
        "has no CPU model called skylake-client (it has Skylake-Client, ",
        "net_device: ",
        "has no network adapter called e1001 (it has e1000, ",
        "qemuargs: ",
        "has no display adapter called cirus (it has cirrus, ",
        "hint: ",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} is not in\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("Retrieving ISO"), "{}", ran.stdout);
}

#[test]
fn a_firmware_an_address_and_a_qemu_img_that_are_not_here_are_told_with_what_is() {
    let home = Home::new();
    home.write("some.iso", "not an image");
    let with = |options: &str| {
        template(&format!("  iso_url = \"some.iso\"\n  iso_checksum = \"none\"\n  accelerator = \"tcg\"\n{options}"))
    };
    for (option, parts) in [
        ("firmware = \"bios-257k.bin\"", ["the firmware bios-257k.bin does not exist", "bios-256k.bin"]),
        ("vnc_bind_address = \"203.0.113.77\"", ["no address of this host", "127.0.0.1"]),
    ] {
        let ran = build(&home, &with(&format!("  {option}")));
        let told = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in parts.into_iter().chain(["hint: "]) {
            assert!(told.contains(part), "{part:?} is not in\n{}", ran.stdout);
        }
        assert!(!told.contains("Retrieving ISO"), "{told}");
    }
    // A home of its own: whoever runs the build looks into the PATH it was started with.
    let home = Home::new();
    home.write("some.iso", "not an image");
    home.write("bad.pkr.hcl", &with("  qemu_img_args {\n    create = [\"-o\", \"cluster_size=1M\"]\n  }"));
    let bin = home.work("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let path = std::env::var("PATH").unwrap();
    let qemu = path.split(':').map(|place| std::path::Path::new(place).join("qemu-system-x86_64"));
    std::os::unix::fs::symlink(qemu.into_iter().find(|place| place.is_file()).unwrap(), bin.join("qemu-system-x86_64"))
        .unwrap();
    let mut command = home.command("kiln");
    command.args(["build", "-color=false", "bad.pkr.hcl"]).env("PATH", &bin);
    let ran = home.start_command(command).wait().expect(1);
    assert!(ran.stdout.contains("No qemu-img") && ran.stdout.contains("hint: "), "{}", ran.stdout);
    assert!(!ran.stdout.contains("Retrieving ISO") && !home.work("out").exists(), "{}", ran.stdout);
    assert!(home.leftovers().is_empty());
}

#[test]
fn usage_errors_have_packers_exit_codes() {
    let home = Home::new();
    assert_eq!(home.kiln::<&str>([]).code(), 127);
    assert_eq!(home.kiln(["frobnicate"]).code(), 127);
    assert_eq!(home.kiln(["build", "-no-such-flag", "x"]).code(), 1);
    assert_eq!(home.kiln(["build"]).code(), 1);
    assert_eq!(home.kiln(["build", "--help"]).code(), 0);
    let ran = home.kiln(["build", "no-such-template.pkr.hcl"]).expect(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("no-such-template.pkr.hcl"));
}
