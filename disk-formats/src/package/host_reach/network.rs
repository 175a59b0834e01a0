//! The words for networks and the remote display that lead to the host, and what has to be said so that they do not.

use std::net::IpAddr;

use super::found::{Card, Found, attributes, is, is_on, said, shown_number, text};
use super::saying::{OFF, Saying, Values};
use crate::package::packaged::quoted;
use crate::package::xml_tree::Element;

impl Found {
    /// Also of cards that are off, and of networks that a card does not use: VirtualBox keeps what is said of them, and whoever gives the card a
    /// network switches it on.
    pub(super) fn judge_card(&mut self, element: &Element, card: Card) {
        let number = shown_number(card.number);
        let option = |name: &str| format!("{name}{number}");
        match element.name.as_str() {
            "Adapter" => {
                if is_on(element, "trace") || said(element, "tracefile").is_some() {
                    let file = quoted(said(element, "tracefile").unwrap_or("?"));
                    let only = Values::Only(OFF);
                    let off = match is_on(element, "trace") {
                        true => Saying::option(option("nictrace"), only),
                        false => Saying::stays(option("nictrace"), only),
                    };
                    let said_by = vec![off, Saying::option(option("nictracefile"), Values::Any)];
                    self.take(format!("all packets of card {number}, written to {file}"), said_by);
                }
                if card.is_used && said(element, "promiscuousModePolicy").is_some_and(|policy| !is(policy, "Deny")) {
                    self.see(format!("on card {number} the packets of others"));
                }
            }
            // The builder lets the first card reach this host anyway: what is served to the guest is there.
            "NAT" if is_on(element, "localhost-reachable") && card.number != Some(1) => {
                let mut said_by = vec![Saying::option(option("natlocalhostreachable"), Values::Any)];
                // VirtualBox writes it of networks that are not in use, too; nobody but the template brings those into use.
                if !card.is_used {
                    said_by.push(Saying::stays(option("nic"), Values::Not(&["nat"])));
                }
                self.take(format!("on card {number} what listens on this host for itself"), said_by);
            }
            "TFTP" => {
                if let Some(prefix) = said(element, "prefix") {
                    let said_by = vec![Saying::option(option("nattftpprefix"), Values::Any)];
                    self.take(format!("the directory {}, which it is served", quoted(prefix)), said_by);
                }
            }
            "Forwarding" => {
                let address = said(element, "hostip").and_then(|address| address.parse::<IpAddr>().ok());
                let what = format!("a port of this host that leads to it: {}", attributes(element));
                if address.is_some_and(|address| address.is_loopback()) {
                    return self.see(what);
                }
                let delete = ["delete".to_owned(), text(element, "name").to_owned()];
                let said_by = vec![Saying::option(option("natpf"), Values::Words(delete.to_vec()))];
                self.take(format!("{what}, from everywhere"), said_by);
            }
            "GenericInterface" => {
                let others = Values::Not(&["generic"]);
                let name = option("nic");
                let said_by = if card.is_used { Saying::option(name, others) } else { Saying::stays(name, others) };
                let what = format!("a network driver of this host, {}", attributes(element));
                self.take(what, vec![said_by]);
            }
            _ => {}
        }
    }

    pub(super) fn judge_display(&mut self, display: &Element) {
        for (attribute, option) in [("authLibrary", "vrdeauthlibrary"), ("VRDEExtPack", "vrdeextpack")] {
            if let Some(name) = said(display, attribute) {
                let what = format!("a library of this host for its remote display, {attribute} {}", quoted(name));
                self.take(what, vec![Saying::option(option, Values::Any)]);
            }
        }
        let properties = || display.all("VRDEProperties").flat_map(|list| list.all("Property"));
        let address = properties().find(|property| text(property, "name") == "TCP/Address");
        let address = address.map_or_else(|| text(display, "netAddress"), |property| text(property, "value"));
        let is_loopback = address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if is_on(display, "enabled") && !is_loopback && !address.is_empty() {
            self.see(format!("its screen at the address {} of this host", quoted(address)));
        }
    }

    pub(super) fn judge_display_property(&mut self, property: &Element) {
        let (name, value) = (text(property, "name"), text(property, "value"));
        // VirtualBox makes both itself when a display is switched on, and exports where they were.
        let is_generated = |end: &str| value.rsplit(['/', '\\']).next() == Some(end);
        let is_harmless = match name {
            "Security/Method" => true,
            "Security/ServerCertificate" => is_generated("VRDEAutoGeneratedCert.pem"),
            "Security/ServerPrivateKey" => is_generated("VRDEAutoGeneratedPrivateKey.pem"),
            // Whatever the extension makes of others: some name files of the host.
            _ => ["TCP/", "VideoChannel/", "Client/"].iter().any(|start| name.starts_with(start)),
        };
        if !is_harmless {
            let what = format!("of its remote display {} = {}", quoted(name), quoted(value));
            self.take(what, vec![Saying::option("vrdeproperty", Values::Begin(format!("{name}=")))]);
        }
    }
}
