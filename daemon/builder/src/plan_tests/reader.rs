//! What the reader says of single options.

use std::collections::HashMap;

use super::component::{Body, body, complaints, running};
use crate::options::Definition;
use crate::plan_reader::{PlanReader, Purpose, quote};

fn qemu() -> &'static Definition {
    running().find(|definition| definition.schema.kind == "qemu").unwrap()
}

fn told(options: &Body, check: impl FnOnce(&mut PlanReader<'_>)) -> HashMap<String, bool> {
    complaints(qemu(), options, check)
}

#[test]
fn a_number_is_told_when_it_is_outside_and_not_zero() {
    for (low, high) in [(1_i64, 65535_i64), (0, 4096), (5900, 65535)] {
        for number in [i64::MIN, -1, 0, 1, low - 1, low, low + 1, high - 1, high, high + 1, i64::MAX] {
            let options = Body::from([("cpus", number.to_string())]);
            let range = u64::try_from(low).unwrap()..=u64::try_from(high).unwrap();
            let told = told(&options, |reader| reader.range("cpus", range));
            let wrong = number != 0 && !(low..=high).contains(&number);
            assert_eq!(told.contains_key("Value out of range"), wrong, "{number} in {low}..={high}: {told:?}");
        }
    }
    assert!(told(&Body::new(), |reader| reader.range("cpus", 1..=2)).is_empty(), "unset");
}

#[test]
fn a_number_is_told_once_whatever_rules_it_breaks() {
    let options = body("vnc_port_min = 70000");
    let mut count = 0;
    told(&options, |reader| {
        reader.range("vnc_port_min", 5900..=65535);
        reader.port_range("vnc_port_min", "vnc_port_max");
        count = reader.diagnostics.iter().filter(|told| told.summary == "Value out of range").count();
    });
    assert_eq!(count, 1);
}

#[test]
fn a_range_of_ports_is_compared_with_the_defaults_of_what_is_unset() {
    for (options, wrong) in [
        ("", false),
        ("http_port_min = 9000", false),
        ("http_port_min = 9001", true),
        ("http_port_max = 8000", false),
        ("http_port_max = 7999", true),
        ("http_port_min = 1\nhttp_port_max = 1", false),
        ("http_port_min = 0\nhttp_port_max = 0", false),
    ] {
        let told = told(&body(options), |reader| reader.port_range("http_port_min", "http_port_max"));
        assert_eq!(told.contains_key("Empty port range"), wrong, "{options:?}: {told:?}");
    }
}

#[test]
fn a_word_is_told_when_it_is_set_and_none_of_the_list() {
    for (value, wrong) in [("\"\"", false), ("\"ide\"", false), ("\"IDE\"", true), ("\"<unknown>\"", false)] {
        let options = Body::from([("disk_interface", value.to_owned())]);
        let told = told(&options, |reader| reader.one_of("disk_interface", &["ide", "sata"]));
        assert_eq!(told.contains_key("Unsupported value"), wrong, "{value}");
    }
}

#[test]
fn what_is_not_on_this_machine_stops_builds_only() {
    for (purpose, is_error) in [(Purpose::Build, true), (Purpose::Validate, false)] {
        let told = told(&Body::new(), |reader| {
            reader.purpose = purpose;
            reader.not_here("firmware", "Not here", "There is none.", None);
        });
        assert_eq!(told.get("Not here"), Some(&is_error));
    }
}

#[test]
fn nothing_more_is_said_of_an_option_whose_value_is_wrong() {
    // A list is no number, which decoding has said.
    let told = told(&Body::from([("cpus", "[1]".to_owned())]), |reader| {
        reader.error("cpus", "More", "of it");
        reader.error_in("cpus", 0, "More", "of it");
    });
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_long_text_is_quoted_around_any_place_of_it() {
    let text = "ä€𝄞x\"\\\n".repeat(40);
    for offset in 0..=text.len() + 1 {
        let quoted = quote(&text, offset);
        assert!(quoted.len() < 400 && quoted.contains('"'), "{offset}: {quoted}");
    }
    assert_eq!(quote("short", 3), "\"short\"");
}

/// What is served is known when the machine starts; until then a text stands for it.
#[test]
fn what_is_served_can_be_named_in_qemuargs() {
    for value in ["{{ .HTTPContent }}", "{{ index .HTTPContent \\\"/a\\\" }}"] {
        let arguments = format!("[[\"-append\", \"{value}\"]]");
        let options = Body::from([("qemuargs", arguments), ("http_content", "{ \"/a\" = \"b\" }".to_owned())]);
        let told = told(&options, |reader| qemu().check(reader));
        let wrong = ["Unknown template field", "Invalid template"];
        assert!(!wrong.iter().any(|summary| told.contains_key(*summary)), "{value}: {told:?}");
    }
}
