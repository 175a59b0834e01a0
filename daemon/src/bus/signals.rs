//! The signals that tell what is new. On a bus of many users each goes to one program, and holds what is public of a job.

use std::collections::BTreeMap;

use zbus::Message;
use zbus::message::Builder;

use super::interface::{OBJECT_MANAGER, PROPERTIES, interface};
use super::place::{Place, ROOT};
use super::tree::{News, Tree};
use super::value::{Sent, path};

/// Who hears the signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Programs of the one user who is served: the session bus.
    OneUser,
    /// Programs of several users, each by itself: the system bus.
    Several,
}

/// Makes the signals that tell the news of a tree, in their order: to one program, by its unique name, or to all.
pub(super) fn signals(news: &[News], tree: &Tree, audience: Audience, to: Option<&str>) -> zbus::Result<Vec<Message>> {
    news.iter().map(|news| signal(news, tree, audience, to)).collect()
}

fn signal(news: &News, tree: &Tree, audience: Audience, to: Option<&str>) -> zbus::Result<Message> {
    let addressed = |signal: Builder<'static>| match to {
        Some(program) => signal.destination(program.to_owned()),
        None => signal,
    };
    let manager = |member: &'static str| addressed(Message::signal(ROOT, OBJECT_MANAGER, member));
    match news {
        News::Added(place) => {
            let values = properties(place, tree, audience);
            let interfaces = BTreeMap::from([(place.interface(), values)]);
            manager("InterfacesAdded").build(&(path(&place.to_string()), interfaces))
        }
        News::Removed(place) => {
            manager("InterfacesRemoved").build(&(path(&place.to_string()), [place.interface()].as_slice()))
        }
        News::Changed(place, names) => {
            let mut values = properties(place, tree, audience);
            values.retain(|name, _| names.contains(name));
            let hidden: Vec<_> = names.iter().copied().filter(|name| !values.contains_key(name)).collect();
            let signal = Message::signal(place.to_string(), PROPERTIES, "PropertiesChanged");
            addressed(signal).build(&(place.interface(), values, hidden))
        }
    }
}

/// Returns what of an object's properties the audience may hear.
fn properties<'a>(place: &Place, tree: &'a Tree, audience: Audience) -> Sent<'a> {
    let interface = interface(place.interface());
    let is_public = |name: &str| {
        interface.and_then(|interface| interface.property(name)).is_some_and(|property| property.is_public)
    };
    let values = tree.values(place).into_iter().flatten();
    let heard = values.filter(|(name, _)| audience == Audience::OneUser || is_public(name));
    heard.map(|(name, value)| (*name, value.to_variant())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use kiln_protocol::Job;
    use zbus::{OwnedObjectPath, OwnedVariant};

    use super::*;
    use crate::jobs::{JobCounts, Observed};

    fn observed(state: &str) -> Observed {
        let text = format!(
            r#"{{"id":"abcdefghij","kind":"build","template":"SECRET.pkr.hcl","working_directory":"/SECRET","state":"{state}",
            "created_at":"2026-01-02T03:04:05.678Z","last_event":9,"error":"SECRET failed in {state}",
            "builds":[{{"name":"qemu.SECRET","state":"failed","step":"SECRET {state}","error":"SECRET {state}",
                "artifacts":[{{"builder_id":"b","id":"i","files":["/SECRET/{state}"]}}]}}],
            "questions":[{{"prompt":"1","text":"SECRET?","choices":[{{"key":"c","label":"SECRET"}}],"default":"SECRET",
                "guest":"ssh SECRET","asked_at":"2026-01-02T03:05:00Z"}}]}}"#
        );
        let job: Job = serde_json::from_str(&text).unwrap();
        Observed { job, owner: 1000, transfers: HashMap::new().into_iter().collect() }
    }

    fn bytes(messages: &[Message]) -> String {
        messages.iter().map(|message| String::from_utf8_lossy(message.data()).into_owned()).collect()
    }

    #[test]
    fn what_a_program_of_another_user_could_hear_holds_nothing_of_the_owner_and_names_what_to_ask_for() {
        let mut tree = Tree::new(JobCounts::default());
        let added = tree.show(&observed("running"));
        let told = |news: &[News], tree: &Tree, audience| signals(news, tree, audience, Some(":1.7")).unwrap();
        let heard = bytes(&told(&added, &tree, Audience::Several));
        assert!(heard.contains("running") && !heard.contains("SECRET"), "{heard}");
        assert!(bytes(&told(&added, &tree, Audience::OneUser)).contains("SECRET?"));

        let changed = tree.show(&observed("failed"));
        let messages = told(&changed, &tree, Audience::Several);
        assert!(!bytes(&messages).contains("SECRET"));
        assert!(messages.iter().all(|message| message.header().destination().is_some_and(|to| to.as_str() == ":1.7")));
        let of_job = messages.iter().find(|message| !message.header().path().unwrap().contains("/build/")).unwrap();
        let body = of_job.body();
        type Changed = (String, HashMap<String, OwnedVariant>, Vec<String>);
        let (_, values, hidden): Changed = body.deserialize().unwrap();
        assert!(values.contains_key("State") && hidden == ["Error", "Step"], "{values:?} {hidden:?}");

        let counted = tree.count(JobCounts { running: 7, ..JobCounts::default() });
        let messages = told(&counted, &tree, Audience::Several);
        let body = messages[0].body();
        let (_, values, hidden): Changed = body.deserialize().unwrap();
        assert!(values.is_empty() && hidden == ["NRunning"], "{values:?} {hidden:?}");

        let removed = tree.hide(&"abcdefghij".parse().unwrap());
        let messages = told(&removed, &tree, Audience::Several);
        let body = messages[0].body();
        let (path, interfaces): (OwnedObjectPath, Vec<String>) = body.deserialize().unwrap();
        assert!(path.contains("/prompt/_1") && interfaces == ["org.kiln.Kiln1.Prompt"], "{path} {interfaces:?}");
    }
}
