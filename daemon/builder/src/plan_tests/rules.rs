//! Every rule of every component that runs has options here that break it.

mod broken;

use kiln_template::{ComponentType, OptionKind};

use super::component::{Body, body, checked, checked_as, complaints, running, some_value, template};
use crate::options::Definition;
use crate::options::rule::Rule;
use broken::BROKEN;

/// Options that break `rule`, each with what is told.
fn broken(definition: &Definition, rule: &Rule) -> Vec<(Body, &'static str)> {
    let one = |name: &'static str, value: String| vec![(Body::from([(name, value)]), "Unsupported value")];
    let value_of = |name: &str| some_value(definition.schema.spec(name).unwrap());
    let missing = |name: &str| &*Box::leak(format!("Missing {name}").into_boxed_str());
    match *rule {
        Rule::OneOf(name, _) => one(name, "\"no such word\"".to_owned()),
        Rule::EachOneOf(name, _) => one(name, "[\"no such word\"]".to_owned()),
        Rule::Range(name, _, high) => vec![(Body::from([(name, (high + 1).to_string())]), "Value out of range")],
        Rule::Pairs(name) => vec![(Body::from([(name, "[\"A=1\", \"=2\"]".to_owned())]), "Invalid variable")],
        Rule::Fields(name, fields) => {
            let with = |text: &str| value_of(name).replacen("changed", text, 1);
            let mut bodies = vec![(Body::from([(name, with("{{ upper }}"))]), "Invalid template")];
            bodies.push(match fields {
                [] => (Body::from([(name, with("{{ .Nope }}"))]), "warning: Template field without a value"),
                _ => (Body::from([(name, with("{{ .Nope }}"))]), "Unknown template field"),
            });
            bodies
        }
        Rule::Check(words, _) => {
            let cases = BROKEN.iter().find(|(begins, _)| words.starts_with(begins));
            let cases = cases.unwrap_or_else(|| panic!("nothing here breaks the rule {words:?}")).1;
            // Of builders that share a rule not all have every option.
            let has = |options: &Body| options.keys().all(|name| definition.schema.spec(name).is_some());
            let cases: Vec<_> = cases.iter().map(|&(options, summary)| (body(options), summary)).collect();
            let own: Vec<_> = cases.into_iter().filter(|(options, _)| has(options)).collect();
            assert!(!own.is_empty(), "nothing here breaks the rule {words:?} of {}", definition.schema.kind);
            own
        }
        Rule::Requires(name, "usb") => vec![(Body::from([(name, "\"3.1\"".to_owned())]), "Missing usb")],
        Rule::Requires(name, other) => vec![(Body::from([(name, value_of(name))]), missing(other))],
        Rule::Exists(name) | Rule::File(name) | Rule::Directory(name) => {
            let named = |path: &str| Body::from([(name, value_of(name).replacen("changed", path, 1))]);
            let other = if matches!(rule, Rule::File(_)) { "/tmp" } else { "/etc/passwd" };
            let wrong_kind = (!matches!(rule, Rule::Exists(_))).then(|| (named(other), "Wrong kind of file"));
            [(named("/nonexistent"), "No such file")].into_iter().chain(wrong_kind).collect()
        }
        Rule::Exclusive(names) => {
            let all = names.iter().map(|&name| (name, value_of(name))).collect();
            vec![(all, "Options that exclude each other")]
        }
        Rule::Needed(names) => vec![(Body::new(), missing(names[0]))],
    }
}

#[test]
fn every_rule_of_what_runs_is_told_when_it_is_broken() {
    let mut tried = 0;
    for definition in running() {
        for rule in definition.rules.iter().copied().flatten() {
            for (options, told) in broken(definition, rule) {
                let (is_error, summary) =
                    told.strip_prefix("warning: ").map_or((true, told), |warning| (false, warning));
                let (kind, words) = (definition.schema.kind, rule.words());
                let alone = complaints(definition, &options, |reader| rule.check(reader));
                assert_eq!(alone.get(summary), Some(&is_error), "{kind}: {words} {options:?}: {alone:?}");
                let all = complaints(definition, &options, |reader| definition.check(reader));
                assert_eq!(all.get(summary), Some(&is_error), "{kind}: {words} {options:?}: {all:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn a_guest_agent_is_qemus_alone() {
    let options = Body::from([("communicator", "\"guest-agent\"".to_owned())]);
    let mut refused = 0;
    for definition in running().filter(|definition| definition.schema.spec("communicator").is_some()) {
        let told = complaints(definition, &options, |reader| definition.check(reader));
        let kind = definition.schema.kind;
        assert_eq!(told.contains_key("No guest agent here"), kind != "qemu", "{kind}: {told:?}");
        assert!(!told.contains_key("Missing ssh_username"), "{kind}: {told:?}");
        refused += u32::from(kind != "qemu");
    }
    assert!(refused >= 6, "{refused}");
}

#[test]
fn every_case_here_breaks_a_rule() {
    let rules: Vec<String> = running().flat_map(|one| one.rules.iter().copied().flatten()).map(Rule::words).collect();
    for (begins, _) in BROKEN {
        assert!(rules.iter().any(|words| words.starts_with(begins)), "no rule begins with {begins:?}");
    }
}

/// What rules tell reaches whoever validates.
#[test]
fn validate_tells_what_rules_tell() {
    for definition in running() {
        for rule in definition.rules.iter().copied().flatten() {
            let Some((options, summary)) =
                broken(definition, rule).into_iter().find(|(_, summary)| !summary.starts_with("warning: "))
            else {
                continue;
            };
            let checked = checked(&template(definition, &options), &[]);
            let told: Vec<_> =
                checked.problems(crate::check::Wanted::Both).into_iter().map(|problem| problem.json).collect();
            assert!(!checked.valid, "{options:?}");
            // Of what is not on this machine only a build makes an error.
            let here = told.iter().any(|problem| problem["summary"] == *summary);
            assert!(here, "{}: {summary} of {options:?} is not in {told:?}", definition.schema.kind);
        }
    }
}

/// An option that is set twice is refused at its second place.
#[test]
fn an_option_that_is_set_twice_is_refused() {
    for definition in running() {
        let kind = definition.schema.kind;
        for spec in definition.schema.specs().filter(|spec| !matches!(spec.kind, OptionKind::Block(_))) {
            let value = some_value(spec);
            let once = template(definition, &Body::from([(spec.name, value.clone())]));
            let line = format!("    {} = {value}\n", spec.name);
            let twice = once.replacen(&line, &format!("{line}{line}"), 1);
            assert_ne!(once, twice);
            let checked = checked(&twice, &[]);
            let told: Vec<_> =
                checked.problems(crate::check::Wanted::Both).into_iter().map(|problem| problem.text).collect();
            let second = 2 + once.lines().position(|one| format!("{one}\n") == line).unwrap();
            let place = format!("t.pkr.hcl line {second}");
            let told_there = told.iter().any(|text| text.contains("redefined") && text.contains(&place));
            assert!(!checked.valid && told_there, "{kind} {}: {told:?}", spec.name);
        }
    }
}

#[test]
fn an_option_that_is_set_twice_is_refused_in_json_too() {
    for definition in running() {
        let kind = definition.schema.kind;
        let options =
            "{\"type\": \"KIND\",\n\"packer_on_error\": \"x\",\n\"packer_on_error\": \"x\"}".replace("KIND", kind);
        let null = "{\"type\": \"null\", \"communicator\": \"none\"}";
        let text = match definition.component {
            ComponentType::Builder => format!("{{\"builders\": [{options}]}}"),
            ComponentType::Provisioner => format!("{{\"builders\": [{null}], \"provisioners\": [{options}]}}"),
            _ => format!("{{\"builders\": [{null}], \"post-processors\": [{options}]}}"),
        };
        let checked = checked_as("t.json", &text, &[]);
        let told: Vec<_> =
            checked.problems(crate::check::Wanted::Both).into_iter().map(|problem| problem.text).collect();
        let told_there = told.iter().any(|text| text.contains("Duplicate field") && text.contains("t.json line 3"));
        assert!(!checked.valid && told_there, "{kind}: {told:?}");
    }
}

#[test]
fn the_table_of_component_kinds_is_whole() {
    for wanted in [ComponentType::Builder, ComponentType::Provisioner, ComponentType::PostProcessor] {
        assert!(running().any(|definition| definition.component == wanted), "no {} runs", wanted.noun());
    }
}
