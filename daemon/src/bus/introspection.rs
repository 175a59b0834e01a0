//! Introspection data: what an object has and what lies below it, as XML of the D-Bus specification.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::interface::{self, Interface, Property};
use super::place::{Place, ROOT};

/// The head of such a document, as the specification wants it.
const HEAD: &str = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
                    \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n";

/// Describes the object at a path, of which these others are shown; nothing when neither it nor anything below it is there.
pub(super) fn describe(path: &str, shown: &[Place]) -> Option<String> {
    let at = Place::parse(path).filter(|place| *place == Place::Manager || shown.contains(place));
    let below = if path == "/" { String::from("/") } else { format!("{path}/") };
    let paths = shown.iter().map(Place::to_string).chain([ROOT.to_owned()]);
    let child = |path: String| Some(path.strip_prefix(&below)?.split('/').next()?.to_owned());
    let children: BTreeSet<_> = paths.filter_map(child).collect();
    if at.is_none() && children.is_empty() {
        return None;
    }
    let mut text = format!("{HEAD}<node>\n");
    for name in names(at.as_ref()) {
        if let Some(interface) = interface::interface(name) {
            write_interface(&mut text, interface);
        }
    }
    for child in children {
        _ = writeln!(text, "  <node name=\"{child}\"/>");
    }
    text += "</node>\n";
    Some(text)
}

/// Returns the interfaces that are at a place: the standard ones everywhere.
pub(super) fn names(at: Option<&Place>) -> Vec<&'static str> {
    let mut names = vec![interface::INTROSPECTABLE, interface::PEER];
    if let Some(place) = at {
        names.push(interface::PROPERTIES);
        if *place == Place::Manager {
            names.push(interface::OBJECT_MANAGER);
        }
        names.push(place.interface());
    }
    names
}

fn write_interface(text: &mut String, interface: &Interface) {
    _ = writeln!(text, "  <interface name=\"{}\">", interface.name);
    for method in interface.methods {
        let arguments = method.takes.iter().map(|argument| (argument, "in"));
        let arguments: Vec<_> = arguments.chain(method.returns.iter().map(|argument| (argument, "out"))).collect();
        if arguments.is_empty() {
            _ = writeln!(text, "    <method name=\"{}\"/>", method.name);
            continue;
        }
        _ = writeln!(text, "    <method name=\"{}\">", method.name);
        for ((name, signature), direction) in arguments {
            _ = writeln!(text, "      <arg name=\"{name}\" type=\"{signature}\" direction=\"{direction}\"/>");
        }
        text.push_str("    </method>\n");
    }
    for (name, arguments) in interface.signals {
        _ = writeln!(text, "    <signal name=\"{name}\">");
        for (name, signature) in *arguments {
            _ = writeln!(text, "      <arg name=\"{name}\" type=\"{signature}\"/>");
        }
        text.push_str("    </signal>\n");
    }
    for Property { name, signature, is_constant, is_public: _ } in interface.properties {
        let property = format!("name=\"{name}\" type=\"{signature}\" access=\"read\"");
        if *is_constant {
            _ = writeln!(text, "    <property {property}>");
            _ = writeln!(text, "      <annotation name=\"{EMITS}\" value=\"const\"/>\n    </property>");
        } else {
            _ = writeln!(text, "    <property {property}/>");
        }
    }
    text.push_str("  </interface>\n");
}

/// Says how changes of a property are told: `true` (with its value, the rule), `const`.
const EMITS: &str = "org.freedesktop.DBus.Property.EmitsChangedSignal";

#[cfg(test)]
mod tests {
    use kiln_protocol::JobId;

    use super::*;

    #[test]
    fn a_path_shows_what_is_there_and_what_is_below_it() {
        let job = JobId::from_random_bits(1);
        let shown = [Place::Job(job.clone()), Place::Build(job.clone(), 0)];
        let at = |path: &str| describe(path, &shown);
        let top = at("/").unwrap();
        assert!(top.contains("<node name=\"org\"/>") && !top.contains("Kiln1"), "{top}");
        let root = at(ROOT).unwrap();
        for words in ["org.kiln.Kiln1.Manager", "ObjectManager", "<node name=\"job\"/>", "type=\"aa{sv}\""] {
            assert!(root.contains(words), "{words}: {root}");
        }
        let jobs = at("/org/kiln/Kiln1/job").unwrap();
        assert!(jobs.contains(&format!("<node name=\"_{job}\"/>")) && !jobs.contains("Properties"), "{jobs}");
        let shown_job = at(&shown[0].to_string()).unwrap();
        assert!(shown_job.contains("org.kiln.Kiln1.Job\"") && shown_job.contains("<node name=\"build\"/>"));
        for nothing in
            ["/org/kiln/Kiln", "/org/kiln/Kiln1/job/_x", &Place::Build(job, 1).to_string(), "/org/freedesktop"]
        {
            assert_eq!(at(nothing), None, "{nothing}");
        }
    }
}
