//! The life of what `install.sh` of the archive installs, for all and for one person.

use std::collections::BTreeSet;

use super::installed_system::System;
use super::{can_have_a_system, packages};

const TEMPLATE: &str =
    "source \"file\" \"x\" {\n  content = \"made\"\n  target  = \"out.txt\"\n}\nbuild {\n  sources = [\"file.x\"]\n}\n";

#[test]
fn the_archive_is_installed_used_and_removed_without_a_trace() {
    let Some((package, archive)) = packages() else { return };
    if !can_have_a_system() {
        return;
    }
    let system = System::new(package, archive);
    let name = archive.file_name().unwrap().to_str().unwrap();
    let folder = name.strip_suffix(".tar.gz").unwrap();
    system.succeed(&["tar", "xzf", &format!("/tmp/packages/{name}"), "-C", "/tmp/packages"]);
    let script = format!("/tmp/packages/{folder}/install.sh");

    let said = system.succeed(&[&script]);
    assert!(said.contains("Installed below /usr/local"), "{said}");
    let left = system.left();
    for line in [
        "f 755 0 usr/local/bin/kiln",
        "f 755 0 usr/local/bin/kilnd",
        "f 644 0 usr/local/share/man/man1/kiln.1.gz",
        "f 644 0 usr/local/share/systemd/user/kilnd.socket",
        "f 644 0 usr/local/lib/systemd/user-preset/60-kilnd.preset",
        "f 644 0 usr/local/share/zsh/site-functions/_kiln",
        "f 755 0 usr/local/lib/kiln/install.sh",
    ] {
        assert!(left.contains(line), "{line}: {left:?}");
    }
    let unit = system.succeed(&["cat", "/usr/local/share/systemd/user/kilnd.service"]);
    assert!(unit.contains("ExecStart=/usr/local/bin/kilnd --user"), "{unit}");
    // Whatever is started by name is there, and it is what was installed.
    let started = system.succeed(&["grep", "-rE", "--include=*.service", "^Exec[A-Za-z]*=", "/usr/local/share"]);
    assert_eq!(started.matches("=/usr/local/bin/kiln").count(), 4, "three units and a name on the bus: {started}");
    for line in started.lines() {
        let program = line.split_once('=').unwrap().1.split(' ').next().unwrap();
        system.succeed(&["test", "-x", program]);
    }
    system.as_user(&format!("cat > t.pkr.hcl <<'END'\n{TEMPLATE}END"));
    assert_eq!(system.as_user("/usr/local/bin/kiln build t.pkr.hcl >log && cat out.txt"), "made");
    system.as_user("/usr/local/bin/kiln daemon stop");

    // Again, as an upgrade is; what an older version had and this one has not goes.
    system.succeed(&["sh", "-c", "cd /usr/local; echo x > share/old; echo 'f share/old' >> lib/kiln/installed"]);
    system.succeed(&[&script]);
    assert_eq!(system.left(), left);

    system.succeed(&["/usr/local/lib/kiln/install.sh", "--uninstall"]);
    assert_eq!(system.left(), BTreeSet::new());

    // What others have installed is not replaced unasked.
    system.succeed(&["sh", "-c", "echo mine > /usr/local/bin/kiln"]);
    let refused = system.run(&[&script]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("/usr/local/bin/kiln") && said.contains("--force"), "{said}");
    assert_eq!(system.succeed(&["cat", "/usr/local/bin/kiln"]), "mine\n");
    system.succeed(&["rm", "/usr/local/bin/kiln"]);
    assert_eq!(system.left(), BTreeSet::new(), "a refusal leaves nothing");

    // Wherever people want it; the directories that this makes go with it.
    let odd = "/opt/kiln's own/a & b|c % $d";
    system.succeed(&[&script, "--prefix", odd]);
    let unit = system.succeed(&["cat", &format!("{odd}/share/systemd/user/kilnd.service")]);
    let line = "ExecStart=/usr/bin/env \"/opt/kiln's own/a & b|c %% $$d/bin/kilnd\" --user\n";
    assert!(unit.contains(line), "{unit}");
    let unit = system.succeed(&["cat", &format!("{odd}/share/systemd/user/kiln-agent.service")]);
    let line = "ExecStart=/usr/bin/env \"/opt/kiln's own/a & b|c %% $$d/bin/kiln\" agent\n";
    assert!(unit.contains(line), "{unit}");
    let on_the_bus = system.succeed(&["cat", &format!("{odd}/share/dbus-1/services/org.kiln.Kiln1.service")]);
    assert!(on_the_bus.contains("Exec=\"/opt/kiln's own/a & b|c % $d/bin/kilnd\" --user\n"), "{on_the_bus}");
    assert!(system.succeed(&[&format!("{odd}/bin/kiln"), "version"]).contains(env!("CARGO_PKG_VERSION")));
    if kiln_tests::tool("systemd-analyze") {
        // It says what systemd would not take.
        let unit = |name: &str| format!("{odd}/share/systemd/user/{name}.service");
        let verify = ["env", "XDG_RUNTIME_DIR=/tmp", "systemd-analyze", "--user", "--man=no", "verify"];
        system.succeed(&[&verify[..], &[&unit("kilnd"), &unit("kiln-agent")]].concat());
    }
    system.succeed(&[&script, "--prefix", odd]);
    system.succeed(&[&format!("{odd}/lib/kiln/install.sh"), "--uninstall"]);
    assert_eq!(system.left(), BTreeSet::new());

    // Programs of a newer system are not installed on an older one.
    let newer = format!("echo 99.9 > /tmp/packages/{folder}/glibc");
    system.succeed(&["cp", &format!("/tmp/packages/{folder}/glibc"), "/tmp/packages/glibc"]);
    system.succeed(&["sh", "-c", &newer]);
    let refused = system.run(&[&script, "--prefix", "/opt/newer"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("needs glibc 99.9, and here is "), "{said}");
    system.succeed(&["cp", "/tmp/packages/glibc", &format!("/tmp/packages/{folder}/glibc")]);
    assert_eq!(system.left(), BTreeSet::new());

    // One person's own.
    system.as_user("mkdir -p .local/share; touch before; find . | sort > before");
    system.as_user(&script);
    assert!(
        system.as_user("cat .local/share/systemd/user/kilnd.service").contains("=/home/kiln-builder/.local/bin/kilnd")
    );
    system.as_user(".local/bin/kiln validate t.pkr.hcl");
    system.as_user(".local/lib/kiln/install.sh --uninstall");
    assert_eq!(system.as_user("find . | sort | diff before -"), "");
}
