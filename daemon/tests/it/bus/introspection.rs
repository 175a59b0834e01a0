//! The interfaces as they are shipped for other programs: those of the running daemon, word for word.

use super::*;

/// Where they are; `KILN_BLESS=1` writes it.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/dbus/org.kiln.Kiln1.xml");

#[tokio::test]
async fn the_interfaces_that_are_shipped_are_those_of_the_running_daemon() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let script = json!([
        {"emit": {"build": "qemu.a", "kind": "build_planned", "position": 0}},
        {"emit": {"build": "qemu.a", "kind": "artifact", "builder_id": "b", "id": "i", "files": ["/f"]}},
        {"await_answer": "go"},
    ]);
    let job = desktop.submit(&daemon, &script).await;
    let (build, prompt) = (format!("{job}/build/_0"), format!("{job}/prompt/_1"));
    let image = format!("{build}/image/_0");
    desktop.wait_for(&prompt, PROMPT, "Text", "What now?").await;
    desktop.wait_for(&image, IMAGE, "Builder", "b").await;
    let mut text = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
                    \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n"
        .to_owned();
    for (path, interface) in [(ROOT, MANAGER), (&job, JOB), (&build, BUILD), (&image, IMAGE), (&prompt, PROMPT)] {
        let seen: String = desktop.call(path, "org.freedesktop.DBus.Introspectable", "Introspect", &()).await;
        let begin = seen.find(&format!("  <interface name=\"{interface}\">")).unwrap();
        let end = begin + seen[begin..].find("  </interface>\n").unwrap() + "  </interface>\n".len();
        text += &seen[begin..end];
    }
    text += "</node>\n";
    if std::env::var("KILN_BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(SHIPPED, &text).unwrap();
    }
    let shipped = std::fs::read_to_string(SHIPPED).unwrap_or_default();
    assert_eq!(shipped, text, "`./x dbus` writes it");
}
