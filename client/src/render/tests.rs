//! Golden lines, in the shapes of packer.md's recorded transcripts.

use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use super::*;

fn look() -> Look {
    Look { machine_readable: false, terminal: false, colour: false, timestamps: false, time_zone: TimeZone::UTC }
}

fn render(look: Look, debug: bool, events: &[Value]) -> String {
    let mut renderer = Renderer::new(look, debug);
    let mut output = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let mut event = event.clone();
        event["seq"] = json!(index + 1);
        event["time"] = json!("2026-11-19T10:48:17.250Z");
        renderer.event(&serde_json::from_value(event).unwrap(), &mut output).unwrap();
    }
    String::from_utf8(output).unwrap()
}

/// Two builds, one of which fails after a retry.
fn two_builds() -> Vec<Value> {
    let error = "Script exited with non-zero exit status: 3.Allowed exit codes are: [0]";
    vec![
        json!({"kind": "job_started", "pid": 1, "version": "0.1.0"}),
        json!({"kind": "build_planned", "build": "x", "position": 0}),
        json!({"kind": "build_planned", "build": "y", "position": 1}),
        json!({"kind": "step_started", "build": "x", "step": "provision"}),
        json!({"kind": "say", "build": "x", "text": "Pausing 1s before the next provisioner..."}),
        json!({"kind": "artifact", "build": "y", "builder_id": "fnoeding.null", "id": "Null",
               "text": "Did not export anything. This is the null builder"}),
        json!({"kind": "build_finished", "build": "y", "elapsed_us": 3_932}),
        json!({"kind": "message", "build": "x", "text": "out\nput\n"}),
        json!({"kind": "error", "build": "x", "text": error}),
        json!({"kind": "build_finished", "build": "x", "elapsed_us": 2_080_000, "error": error}),
        json!({"kind": "job_finished", "state": "failed", "exit_code": 1, "elapsed_us": 2_080_111}),
    ]
}

#[test]
fn two_builds_one_failing() {
    insta::assert_snapshot!(render(look(), false, &two_builds()), @r"
    ==> x: Pausing 1s before the next provisioner...
    Build 'y' finished after 3 milliseconds 932 microseconds.
    ==> x: out
    ==> x: put
    ==> x:
    ==> x: Script exited with non-zero exit status: 3.Allowed exit codes are: [0]
    Build 'x' errored after 2 seconds 80 milliseconds: Script exited with non-zero exit status: 3.Allowed exit codes are: [0]

    ==> Wait completed after 2 seconds 80 milliseconds

    ==> Some builds didn't complete successfully and had errors:
    --> x: Script exited with non-zero exit status: 3.Allowed exit codes are: [0]

    ==> Builds finished. The artifacts of successful builds are:
    --> y: Did not export anything. This is the null builder
    ");
}

#[test]
fn errors_of_a_template_are_counted_when_they_are_several() {
    let problem = |severity: &str| json!({"severity": severity, "summary": "A"});
    let event = |severities: &[&str]| {
        let list: Vec<_> = severities.iter().copied().map(problem).collect();
        json!({"kind": "diagnostics", "severity": "error", "text": "Error: A\n\nError: B\n\n", "diagnostics": list})
    };
    let text = render(look(), false, &[event(&["error", "warning", "error"])]);
    assert_eq!(text, "Error: A\n\nError: B\n\n2 errors\n\n");
    for severities in [&["error"][..], &["warning", "warning"], &["error", "warning"], &[]] {
        assert_eq!(render(look(), false, &[event(severities)]), "Error: A\n\nError: B\n\n");
    }
    let for_programs = Look { machine_readable: true, ..look() };
    assert!(!render(for_programs, false, &[event(&["error", "error"])]).contains("2 errors"), "no record of Packer's");
}

#[test]
fn on_a_terminal_scripts_are_indented_and_errors_told_once_and_counted() {
    let text = render(Look { terminal: true, ..look() }, false, &two_builds());
    insta::assert_snapshot!(text, @r"
    ==> x: Pausing 1s before the next provisioner...
    Build 'y' finished after 3 milliseconds 932 microseconds.
        x: out
        x: put
        x:
    ==> x: Script exited with non-zero exit status: 3.Allowed exit codes are: [0]
    Build 'x' errored after 2 seconds 80 milliseconds.

    ==> Wait completed after 2 seconds 80 milliseconds

    ==> 1 of 2 builds failed:
    --> x

    ==> Builds finished. The artifacts of successful builds are:
    --> y: Did not export anything. This is the null builder
    ");
    // An error that no line has told comes with the build's end, and one of a build without an end with the count.
    let events = [
        json!({"kind": "build_planned", "build": "x", "position": 0}),
        json!({"kind": "build_planned", "build": "y", "position": 1}),
        json!({"kind": "build_finished", "build": "x", "elapsed_us": 1, "error": "cannot read z: No such file or directory (os error 2)"}),
        json!({"kind": "job_finished", "state": "failed", "exit_code": 1, "elapsed_us": 1_000_000, "error": "the worker died"}),
    ];
    let text = render(Look { terminal: true, ..look() }, false, &events);
    assert!(
        text.starts_with("Build 'x' errored after 1 microsecond: cannot read z: No such file or directory\n"),
        "{text}"
    );
    assert!(text.contains("\n==> 2 of 2 builds failed:\n--> x\n--> y: the worker died\n"), "{text}");
    for machine_readable in [false, true] {
        assert!(!render(Look { machine_readable, ..look() }, false, &events).contains("os error"));
    }
}

#[test]
fn colours_follow_the_builds_and_end_with_their_lines() {
    let text = render(Look { colour: true, ..look() }, true, &two_builds()).replace('\x1b', "^");
    insta::assert_snapshot!(text, @r"
    ^[1;32mx: output will be in this color.^[0m
    ^[1;36my: output will be in this color.^[0m

    Debug mode enabled. Builds will not be parallelized.
    ^[1;32m==> x: Pausing 1s before the next provisioner...^[0m
    ^[1;36mBuild 'y' finished after 3 milliseconds 932 microseconds.^[0m
    ^[1;32m==> x: out^[0m
    ^[1;32m==> x: put^[0m
    ^[1;32m==> x:^[0m
    ^[1;31m==> x: Script exited with non-zero exit status: 3.Allowed exit codes are: [0]^[0m
    ^[1;31mBuild 'x' errored after 2 seconds 80 milliseconds: Script exited with non-zero exit status: 3.Allowed exit codes are: [0]^[0m

    ==> Wait completed after 2 seconds 80 milliseconds

    ^[1;31m==> Some builds didn't complete successfully and had errors:^[0m
    ^[1;31m--> x: Script exited with non-zero exit status: 3.Allowed exit codes are: [0]^[0m

    ==> Builds finished. The artifacts of successful builds are:
    --> y: Did not export anything. This is the null builder
    ");
}

#[test]
fn programs_get_records() {
    let events = [
        json!({"kind": "build_planned", "build": "file", "position": 0}),
        json!({"kind": "say", "build": "file", "text": "a, b\r\nc", "target": "file (checksum)"}),
        json!({"kind": "artifact", "build": "file", "builder_id": "packer.file", "id": "File",
               "text": "Stored file: /tmp/exp/out.txt", "files": ["/tmp/exp/out.txt"]}),
        json!({"kind": "artifact", "build": "file", "builder_id": "", "id": ""}),
        json!({"kind": "build_finished", "build": "file", "elapsed_us": 1_000}),
        json!({"kind": "job_finished", "state": "succeeded", "exit_code": 0, "elapsed_us": 2_000}),
    ];
    let machine = Look { machine_readable: true, colour: true, ..look() };
    insta::assert_snapshot!(render(machine.clone(), false, &events), @r"
    1795085297,,ui,say,==> file (checksum): a%!(PACKER_COMMA) b\r\n==> file (checksum): c
    1795085297,,ui,say,Build 'file' finished after 1 millisecond.
    1795085297,,ui,say,\n==> Wait completed after 2 milliseconds
    1795085297,,ui,say,\n==> Builds finished. The artifacts of successful builds are:
    1795085297,file,artifact-count,2
    1795085297,file,artifact,0,builder-id,packer.file
    1795085297,file,artifact,0,id,File
    1795085297,file,artifact,0,string,Stored file: /tmp/exp/out.txt
    1795085297,file,artifact,0,files-count,1
    1795085297,file,artifact,0,file,0,/tmp/exp/out.txt
    1795085297,file,artifact,0,end
    1795085297,,ui,say,--> file: Stored file: /tmp/exp/out.txt
    1795085297,file,artifact,1,nil
    1795085297,file,artifact,1,end
    1795085297,,ui,say,--> file: <nothing>
    ");
    let failure: String = render(machine, false, &two_builds()).lines().skip(4).take(5).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(failure, @r"
    1795085297,,ui,error,Build 'x' errored after 2 seconds 80 milliseconds: Script exited with non-zero exit status: 3.Allowed exit codes are: [0]
    1795085297,,ui,say,\n==> Wait completed after 2 seconds 80 milliseconds
    1795085297,,error-count,1
    1795085297,,ui,error,\n==> Some builds didn't complete successfully and had errors:
    1795085297,x,error,Script exited with non-zero exit status: 3.Allowed exit codes are: [0]
    ");
}

#[test]
fn times_stand_before_what_builds_say() {
    let zone = TimeZone::fixed(Offset::constant(2));
    let events = [
        json!({"kind": "build_planned", "build": "x", "position": 0}),
        json!({"kind": "say", "build": "x", "text": "a\nb"}),
        json!({"kind": "say", "text": "global"}),
    ];
    let text = render(Look { timestamps: true, time_zone: zone, ..look() }, false, &events);
    assert_eq!(text, "2026-11-19T12:48:17+02:00: ==> x: a\n==> x: b\nglobal\n");
    let text = render(Look { timestamps: true, ..look() }, false, &events);
    assert!(text.starts_with("2026-11-19T10:48:17Z: ==> x: a\n"), "{text}");
}

#[test]
fn a_cancelled_job_ends_without_a_summary() {
    let events = [
        json!({"kind": "build_planned", "build": "x", "position": 0}),
        json!({"kind": "cancel_requested"}),
        json!({"kind": "build_finished", "build": "x", "elapsed_us": 1_000_000, "cancelled": true}),
        json!({"kind": "job_finished", "state": "cancelled", "exit_code": 1, "elapsed_us": 1_000_000}),
    ];
    insta::assert_snapshot!(render(look(), false, &events), @r"
    Build 'x' errored after 1 second: build was cancelled

    ==> Wait completed after 1 second
    Cleanly cancelled builds after being interrupted.
    ");
}

#[test]
fn builds_of_a_dead_worker_are_errors() {
    let events = [
        json!({"kind": "build_planned", "build": "x", "position": 0}),
        json!({"kind": "job_finished", "state": "failed", "exit_code": 1, "elapsed_us": 1_000_000, "error": "the worker died"}),
    ];
    insta::assert_snapshot!(render(look(), false, &events), @r"

    ==> Wait completed after 1 second

    ==> Some builds didn't complete successfully and had errors:
    --> x: the worker died

    ==> Builds finished but no artifacts were created.
    ");
}

#[test]
fn template_errors_stand_alone() {
    let events = [
        json!({"kind": "diagnostics", "severity": "error", "text": "Error: Unset variable \"u\"\n\n  on t.pkr.hcl line 1:\n"}),
        json!({"kind": "job_finished", "state": "failed", "exit_code": 1, "elapsed_us": 1_000}),
    ];
    assert_eq!(render(look(), false, &events), "Error: Unset variable \"u\"\n\n  on t.pkr.hcl line 1:\n\n");
}

#[test]
fn the_version_has_packers_form() {
    let mut output = Vec::new();
    let time = Timestamp::from_second(1).unwrap();
    write_version(&look(), time, "1.2.3", &mut output).unwrap();
    write_version(&Look { machine_readable: true, ..look() }, time, "1.2.3", &mut output).unwrap();
    insta::assert_snapshot!(String::from_utf8(output).unwrap(), @r"
    Kiln v1.2.3
    1,,version,1.2.3
    1,,version-prelease,
    1,,version-commit,
    1,,ui,say,Kiln v1.2.3
    ");
}
