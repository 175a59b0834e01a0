//! VMware's tools reach the guest.

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
