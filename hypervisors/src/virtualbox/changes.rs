//! What a build changes in a machine that was there before it, and how each change is undone: where something of ours is still there, it
//! makes room for what was there before.

use std::path::Path;

use super::call::{Call, words};
use super::facts::{Facts, Held, Slot};
use super::places::{PlacedDisc, PlacedFloppy};
use super::settings::FORWARDING;
use super::storage;

/// What is changed, or about to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The machine as it was found.
    pub(super) before: Facts,
    /// Discs that are to go out again.
    pub(super) discs: Vec<PlacedDisc>,
    pub(super) floppy: Option<PlacedFloppy>,
    pub(super) display: DisplayChange,
    /// The first network adapter is put behind NAT, with a forwarding.
    pub(super) network: bool,
}

/// What is done to the remote display.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum DisplayChange {
    #[default]
    None,
    /// It is switched on to see its settings, which VirtualBox tells only then.
    LookedAt,
    /// It gets this port and our other settings.
    Ours(u16),
}

impl Changes {
    /// Whether there is anything of ours in its drives.
    pub(super) fn have_media(&self) -> bool {
        !self.discs.is_empty() || self.floppy.is_some()
    }

    /// What takes our media out and puts those back that were there. `now`: the machine as it is.
    pub(super) fn undo_media(&self, uuid: &str, now: &Facts) -> Vec<Call> {
        let mut calls = Vec::new();
        for PlacedDisc { slot, image } in &self.discs {
            if let Some(medium) = self.back(slot, image, now) {
                calls.push(storage::insert_disc(uuid, slot, &medium));
            }
        }
        if let Some(PlacedFloppy { slot, image, makes_controller }) = &self.floppy {
            if *makes_controller {
                let is_ours = |one: &super::facts::Controller<'_>| one.is_floppy() && one.name == slot.controller;
                if now.controllers().iter().any(is_ours) {
                    calls.push(storage::remove_floppy(uuid));
                }
            } else if let Some(medium) = self.back(slot, image, now) {
                calls.push(storage::insert_floppy(uuid, slot, &medium));
            }
        }
        calls
    }

    /// The medium that is to come back into a place; `None`: there is nothing of ours.
    fn back(&self, slot: &Slot, image: &Path, now: &Facts) -> Option<String> {
        let (before, now) = (self.before.holds(slot), now.holds(slot));
        // A guest can open a drive: then the medium is out, and the drive still there.
        let ours = now == Held::EmptyDrive || matches!(now, Held::Medium(medium) if Path::new(medium) == image);
        if !ours || now == before {
            return None;
        }
        Some(match before {
            Held::Nothing => "none".to_owned(),
            Held::Medium(device) if device.starts_with("/dev/") => format!("host:{device}"),
            Held::Medium(medium) if Path::new(medium).exists() => medium.to_owned(),
            // What is gone cannot come back.
            Held::EmptyDrive | Held::Medium(_) => "emptydrive".to_owned(),
        })
    }

    /// What puts the remote display and the network back. What the template's own commands have made of them stays.
    pub(super) fn undo_settings(&self, uuid: &str, now: &Facts) -> Vec<Call> {
        let mut modify = vec!["modifyvm".to_owned(), uuid.to_owned()];
        if self.display_is_ours(now) {
            for (option, fact) in
                [("--vrdeaddress", "vrdeaddress"), ("--vrdeauthtype", "vrdeauthtype"), ("--vrdeport", "vrdeports")]
            {
                if let Some(value) = self.before.get(fact).filter(|value| now.get(fact) != Some(value)) {
                    modify.extend([option.to_owned(), value.to_owned()]);
                }
            }
            if self.before.get("vrde") != Some("on") {
                modify.extend(["--vrde".to_owned(), "off".to_owned()]);
            }
        }
        if self.network && now.get("nic1") == Some("nat") {
            match self.before.get("nic1") {
                Some("nat") if self.before.get("localhostReachable") == Some("0") => {
                    modify.extend(words("--nat-localhostreachable1 off"));
                }
                Some("nat") | None => {}
                // It tells `Generic`, and takes `generic`.
                Some(other) => modify.extend(["--nic1".to_owned(), other.to_lowercase()]),
            }
        }
        let mut calls = Vec::new();
        let (own, there) = (forwarding(&self.before), forwarding(now));
        if self.network && own != there {
            if there.is_some() {
                calls.push(delete_forwarding(uuid));
            }
            // One of that name that was there before had to make room.
            modify.extend(own.into_iter().flat_map(|own| ["--natpf1".to_owned(), own.to_owned()]));
        }
        if modify.len() > 2 {
            calls.push(modify);
        }
        calls
    }

    fn display_is_ours(&self, now: &Facts) -> bool {
        let was_off = self.before.get("vrde") != Some("on");
        let ports = now.get("vrdeports");
        now.get("vrde") == Some("on")
            && match self.display {
                DisplayChange::None => false,
                DisplayChange::LookedAt => was_off,
                // It may have come no further than to be looked at.
                DisplayChange::Ours(port) => {
                    ports == Some(&port.to_string()) || (was_off && ports == self.before.get("vrdeports"))
                }
            }
    }
}

/// What takes the media out that a dead process has put into a machine of others: they lie in its directory, which is about to go.
pub(super) fn take_out(uuid: &str, work: &Path, now: &Facts) -> Vec<Call> {
    // Earlier versions noted it as it was named.
    let without_links = storage::without_links(work);
    let is_ours = |path: &Path| path.starts_with(work) || path.starts_with(&without_links);
    let ours = now.attached().into_iter().filter(|one| is_ours(&one.path));
    ours.map(|one| match one.floppy {
        true if one.slot.controller == storage::FLOPPY => storage::remove_floppy(uuid),
        true => storage::insert_floppy(uuid, &one.slot, "emptydrive"),
        // Whether there was a drive before is not known.
        false => storage::insert_disc(uuid, &one.slot, "emptydrive"),
    })
    .collect()
}

/// What closes the remote display that a dead process has opened to everybody on this port.
pub(super) fn close_display(uuid: &str, port: u16, now: &Facts) -> Option<Call> {
    let is = |fact: &str, value: &str| now.get(fact) == Some(value);
    let ours = is("vrde", "on") && is("vrdeauthtype", "null") && is("vrdeports", &port.to_string());
    ours.then(|| words(&format!("modifyvm {uuid} --vrde off")))
}

/// Takes our forwarding out.
pub(super) fn delete_forwarding(uuid: &str) -> Call {
    words(&format!("modifyvm {uuid} --natpf1 delete {FORWARDING}"))
}

/// Whether the machine has our forwarding, or one of its name.
pub(super) fn has_forwarding(facts: &Facts) -> bool {
    forwarding(facts).is_some()
}

fn forwarding(facts: &Facts) -> Option<&str> {
    let is_ours = |value: &str| value.strip_prefix(FORWARDING).is_some_and(|rest| rest.starts_with(','));
    facts.all().find_map(|(name, value)| (name.starts_with("Forwarding(") && is_ours(value)).then_some(value))
}
