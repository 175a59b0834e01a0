//! Descriptions that hide what they reach for: in what looks as if it were off, twice said, or at a place that few readers look at.

use super::*;

#[test]
fn off_counts_only_where_virtualbox_reads_it() {
    let pipe = "<UART enabled='false'><Port slot='0' enabled='true' path='/x' hostMode='HostPipe'/></UART>";
    let library =
        "<ExtraData enabled='0'><ExtraDataItem enabled='0' name='VBoxInternal/PDM/x' value='/x'/></ExtraData>";
    let machine = format!(
        "<Machine enabled='false'>{library}<Hardware enabled='no'>{pipe}<SharedFolders enabled='0'>\
         <SharedFolder name='all' hostPath='/' enabled='0'/></SharedFolders></Hardware></Machine>"
    );
    let found = of(&xml_tree::read(&machine).unwrap());
    for what in ["serial port 1", "shared folder \"all\"", "VBoxInternal/PDM/x"] {
        assert!(found.iter().any(|one| one.takes && one.what.contains(what) && !one.is_said(&[])), "{what}: {found:?}");
    }
    // And whoever says so where nobody reads it hides something.
    for place in
        ["Machine enabled", "UART enabled", "SharedFolder enabled", "ExtraDataItem enabled", "Hardware enabled"]
    {
        assert!(found.iter().any(|one| one.what.contains(place) && one.command().is_none()), "{place}: {found:?}");
    }
}

#[test]
fn cards_and_networks_that_are_not_in_use_are_judged_as_if_they_were() {
    for inside in [
        "<Adapter slot='0' enabled='true'><BridgedInterface name='x'/><DisabledModes><NAT><TFTP prefix='/home/u/.ssh'/></NAT></DisabledModes></Adapter>",
        "<Adapter slot='0'><NAT><TFTP prefix='/home/u/.ssh'/></NAT></Adapter>",
        "<Adapter slot='0' enabled='false' trace='true' tracefile='/home/u/.bashrc'/>",
        "<Adapter slot='0' enabled='false'><DisabledModes><NAT><Forwarding name='x' hostport='22'/></NAT></DisabledModes></Adapter>",
    ] {
        let found = found(&format!("<Network>{inside}</Network>"));
        let taking: Vec<_> = found.iter().filter(|one| one.takes).collect();
        assert!(taking.len() == 1 && !taking[0].is_said(&[]), "{inside}: {found:?}");
    }
}

#[test]
fn an_attribute_of_two_prefixes_is_refused() {
    let inside = "<UART><Port slot='0' enabled='true' a:hostMode='Disconnected' hostMode='HostPipe' path='/x' xmlns:a='a'/></UART>";
    let found = found(inside);
    assert!(found.iter().any(|one| one.what.contains("Port hostMode, which is said twice")), "{found:?}");
}

#[test]
fn machines_are_found_wherever_they_are() {
    let machine = "<v:Machine><Hardware><SharedFolders><SharedFolder name='x' hostPath='/'/></SharedFolders></Hardware></v:Machine>";
    for around in ["VirtualSystem", "Content", "Section", "Machines"] {
        let text = format!("<Envelope xmlns:v='v'><{around}><x>{machine}</x></{around}><y/>{machine}</Envelope>");
        assert_eq!(of(&xml_tree::read(&text).unwrap()).len(), 2, "{around}");
    }
    let nested = format!("<Machine xmlns:v='v'>{machine}</Machine>");
    assert!(of(&xml_tree::read(&nested).unwrap())[0].what.starts_with("Machine/Machine, "));
}
