//! VMware's tools reach the guest, and a machine whose process is killed is told of.

use std::path::PathBuf;

use super::*;

const MARK: &str = "THE TOOLS OF A TEST";

/// Bytes of the disc; the mark stands in the middle.
const SIZE: usize = 1 << 20;

/// Uploaded as a file, and put into a drive.
pub(super) fn the_tools_reach_the_guest(lab: &Lab) {
    let mut disc = vec![0; SIZE];
    disc[SIZE / 2..SIZE / 2 + MARK.len()].copy_from_slice(MARK.as_bytes());
    std::fs::write(lab.home.work("tools.iso"), disc).unwrap();
    for (mode, options, look) in [
        (
            "upload",
            "tools_upload_flavor = \"linux\"\n  tools_upload_path = \"/root/{{ .Flavor }}.iso\"",
            format!("grep -c '{MARK}' /root/linux.iso && test $(wc -c < /root/linux.iso) = {SIZE}"),
        ),
        ("attach", "tools_mode = \"attach\"", format!("grep -c '{MARK}' /dev/sr0")),
    ] {
        let name = format!("tools-{mode}");
        let more = format!("linked = true\n  tools_source_path = \"tools.iso\"\n  {options}");
        let source = clone(&name, &more);
        let file = format!("{name}.pkr.hcl");
        lab.home.write(
            &file,
            &format!(
                "{source}\nbuild {{\n  sources = [\"source.vmware-vmx.{name}\"]\n  provisioner \"shell\" {{\n    inline = [{look:?}]\n  }}\n}}\n"
            ),
        );
        let ran = lab.start(&["build", "-color=false", &file]).wait().expect(0);
        let told = ran.stdout.contains("Uploading VMware Tools to /root/linux.iso...");
        assert_eq!(told, mode == "upload", "{}", ran.stdout);
        let vmx = std::fs::read_to_string(lab.home.work(&format!("{name}/{name}.vmx"))).unwrap();
        assert!(!vmx.contains("tools.iso"), "the build's disc is still in its drive: {vmx}");
    }
    lab.assert_clean();
}

/// VMware does not tell whether a guest has switched itself off, so the build says what it knows.
pub(super) fn a_killed_machine_is_told_of(lab: &Lab) {
    let source = clone("killed", "linked = true");
    lab.home.write(
        "killed.pkr.hcl",
        &format!(
            "{source}\nbuild {{\n  sources = [\"source.vmware-vmx.killed\"]\n  provisioner \"shell\" {{\n    inline = [\"echo AT WORK\", \"sleep 1000\"]\n  }}\n}}\n"
        ),
    );
    let running = lab.start(&["build", "-color=false", "killed.pkr.hcl"]);
    lab.home
        .wait_for("the provisioner", WAIT, || events(lab).iter().any(|text| text.contains("AT WORK")).then_some(()));
    let machine = lab.home.leftovers().processes.into_iter().find(|(_, line)| line.contains("qemu-system-x86_64"));
    let machine = Pid::from_raw(i32::try_from(machine.expect("the machine's process").0).unwrap()).unwrap();
    kill_process(machine, Signal::KILL).unwrap();
    let ran = running.wait().expect(1);
    let said = unfolded(&ran.stdout);
    assert!(said.contains("the machine stopped while it was provisioned: the machine ended unexpectedly"), "{said}");
    assert!(said.contains("its log ends: qemu-system-x86_64"), "{said}");
    assert!(!lab.home.work("killed").exists());
    lab.assert_clean();
}

/// The events of all jobs.
fn events(lab: &Lab) -> Vec<String> {
    let jobs = std::fs::read_dir(lab.home.path().join("state/kiln/jobs")).into_iter().flatten().flatten();
    let files = jobs.map(|job| job.path().join("events.ndjson")).collect::<Vec<PathBuf>>();
    files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}
