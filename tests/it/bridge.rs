//! A guest on a real bridge: QEMU's helper puts it there, its address is given by a DHCP server of the host's network and found in the kernel's
//! neighbour table. All of it in a network namespace, which goes with everything in it.

use std::path::Path;
use std::time::Duration;

use kiln_tests::{Home, installer, root, tool};

use crate::guests::{PASSWORD, Template};

/// Where Debian keeps the program that puts QEMU's adapters on bridges.
const BRIDGE_HELPER: &str = "/usr/lib/qemu/qemu-bridge-helper";

/// A host with a bridge on which addresses are given, and one build there. `$1` is kiln, `$2` a directory for what the host needs.
const HOST: &str = r#"
set -eu
mount -t sysfs sysfs /sys
mkdir -p /etc/qemu "$2/qemu"
echo "allow br0" > "$2/qemu/bridge.conf"
mount --bind "$2/qemu" /etc/qemu
ip link set lo up
ip link add br0 type bridge
ip addr add 192.168.77.1/24 dev br0
ip link set br0 up
dnsmasq --keep-in-foreground --port=0 --user=root --interface=br0 --bind-interfaces --dhcp-range=192.168.77.50,192.168.77.90 \
  --dhcp-leasefile="$2/leases" --pid-file= --log-facility="$2/dnsmasq.log" &
dhcp=$!
finish() { "$1" daemon stop; kill $dhcp; wait $dhcp || true; }
trap 'finish "$1"' EXIT
"$1" build -color=false bridge.pkr.hcl
echo "adapters left: $(ip -brief link show master br0 | wc -l)"
"#;

#[test]
fn a_guest_on_a_bridge_is_reached_at_the_address_that_it_was_given() {
    let tools = ["unshare", "ip", "dnsmasq", "qemu-system-x86_64"].iter().all(|name| tool(name));
    let Some(iso) = installer().filter(|_| tools && root()) else { return };
    assert!(Path::new(BRIDGE_HELPER).exists(), "{BRIDGE_HELPER} comes with QEMU");
    let home = Home::new();
    let source = format!("net_bridge = \"br0\"\n  ssh_password = {PASSWORD:?}");
    let provisioner = "provisioner \"shell\" {\n    inline = [\"ip -4 addr show dev eth0\", \"echo served by $PACKER_HTTP_ADDR\"]\n  }";
    let template = Template { iso: &iso, answers: &[], source: &source, build: provisioner };
    home.write("bridge.pkr.hcl", &template.text());
    let host = home.path().join("host");
    std::fs::create_dir(&host).unwrap();
    // The home's environment, with what is to be run put into other words.
    let kiln = home.command("kiln");
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "--mount", "--", "bash", "-c", HOST, "host"]).arg(kiln.get_program()).arg(&host);
    command.current_dir(home.work(""));
    for (name, value) in kiln.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ran = home.start_command(command).wait().expect(0);
    let address = ran.stdout.lines().find_map(|line| line.split("Using SSH communicator to connect: ").nth(1));
    let address = address.unwrap_or_else(|| panic!("{}", ran.stdout));
    assert!(address.starts_with("192.168.77."), "{address}");
    assert!(ran.stdout.contains(&format!("inet {address}/24")), "the guest has that address: {}", ran.stdout);
    assert!(ran.stdout.contains("served by 192.168.77.1:"), "{}", ran.stdout);
    assert!(ran.stdout.contains("adapters left: 0"), "{}", ran.stdout);
    assert!(home.work("out/guest").exists());
    // The daemon's search for hypervisors ends with it, when the kernel comes to it.
    home.wait_for("the end of everything", Duration::from_secs(120), || home.leftovers().is_empty().then_some(()));
}
