//! Inside a crate: no files that import each other in a loop, and no import that runs up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::graph::{Needs, between_files, between_parts, circles, order, part_of};
use super::imports::{Imports, imports};
use super::sources::Texts;
use super::{packages, root, rust_files};

/// The top-level modules of each crate, from the ground up: each may import from those before it only. A part of a module
/// that lies lower than the rest of it has a place of its own, as `qemu/spec`.
const FLOORS: &[(&str, &str)] = &[
    (
        "disk-formats",
        "error format digest zeroes output_options reading deflate writing machine output format_options format_row \
         foreign compare raw qcow2 vmdk vdi vhd vhdx package formats recognise take_out open check convert create media",
    ),
    (
        "daemon/communicators",
        "connect_error quoting rounded secret unverified error observer communicator lookout none output local_files http_connect ssh winrm guest_agent config connector \
         conformance fake",
    ),
    ("daemon/template", "go diagnostics world go_template language components hcl2 legacy load commands"),
    ("client", "argv error version visible api arguments live render terminal agent commands usage run"),
    (
        "daemon",
        "announcer answer_time as_owner account blocking turns descriptor peer_process subordinates caller quotas config_file explain units config config_changes failure journald logging memory polkit private_directory process_identity queue remove_tree \
         runner version wall_clock failed_start images instance job_dir control journal engine event_log worker \
         jobs reload bus api server unavailable user_daemon command_line",
    ),
    (
        "daemon/builder",
        "archive atomic_file regular_file boot_command build_data cleanup connections disk_size error event home kept_inside image_registry ledger registrations left_in_guest \
         local_processes lock_file option_values default_names plan_key records artifact blocking generated http_server plan \
         plan_reader resume way_in control fetch steps/sightings context steps/evidence steps/unreachable temporary_file noted_file attestation \
         data_sources unfinished backends export line_output step scripts post_processors provisioners steps abandon built sweep machine_build sources attested_names build_inputs options verify_build run catalog \
         component_pages unbuilt check job",
    ),
    ("daemon/protocol", "environment id image info places problem question registry step text job event validate"),
    (
        "hypervisors",
        "words process_stat fake/spec qemu/spec virtualbox/spec vmware/spec error guest_network kept_mark keyboard screen ledger private_dir \
         listening_socket port_lease processor process spec machine conformance fake rfb qemu virtualbox vmware registry",
    ),
    ("systemd", "journal listen notify"),
    ("tests", "leftovers requirements home"),
];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let (mut wrong, mut seen) = (String::new(), 0);
    for name in folders() {
        let imports = imports(&texts(&name));
        seen += imports.values().map(BTreeMap::len).sum::<usize>();
        wrong += &circle_faults(&name, &imports);
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(seen > 1000, "only {seen} imports between files are seen: the reader misses some");
}

#[test]
fn imports_run_down_inside_each_crate() {
    let mut wrong = String::new();
    for name in folders() {
        let floors = FLOORS.iter().find(|entry| entry.0 == name).map_or("", |entry| entry.1);
        wrong += &floor_faults(&name, &imports(&texts(&name)), floors);
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The folder of every crate of the workspace, as `daemon/protocol`.
fn folders() -> Vec<String> {
    let folder = |package: cargo_metadata::Package| {
        let folder = package.manifest_path.parent().unwrap().as_std_path();
        folder.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
    };
    packages().into_iter().map(folder).collect()
}

/// All Rust files in the source folder of a crate.
fn texts(name: &str) -> Texts {
    let folder = root().join(name).join("src");
    let mut files = Vec::new();
    rust_files(&folder, &mut files);
    let below = |file: &Path| file.strip_prefix(&folder).unwrap().to_owned();
    files.iter().map(|file| (below(file), std::fs::read_to_string(file).unwrap())).collect()
}

/// Every circle, with the names that tie it.
fn circle_faults(name: &str, imports: &Imports) -> String {
    let mut wrong = String::new();
    for circle in circles(&between_files(imports)) {
        _ = writeln!(wrong, "{name}/src: these {} files import each other in a circle:", circle.len());
        for file in &circle {
            for (needed, names) in imports[file].iter().filter(|(needed, _)| circle.contains(*needed)) {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                _ = writeln!(wrong, "  {} → {}: {names}", file.display(), needed.display());
            }
        }
        wrong += "  Move what both sides need into a file of its own below them, or hand it over as an argument.\n";
    }
    wrong
}

/// Imports that run up, modules that have no floor, and floors without a module.
fn floor_faults(name: &str, imports: &Imports, floors: &str) -> String {
    let listed: Vec<&str> = floors.split_whitespace().collect();
    let needs = between_parts(imports, &listed);
    let roots = ["lib", "main"]; // above all others
    let floor = |part: &str| {
        if roots.contains(&part) { Some(usize::MAX) } else { listed.iter().position(|&other| other == part) }
    };
    let mut wrong = String::new();
    for (file, needed) in imports {
        for (other, names) in needed {
            if let (Some(own), Some(theirs)) = (floor(&part_of(file, &listed)), floor(&part_of(other, &listed)))
                && own < theirs
            {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                _ = writeln!(wrong, "{name}/src: {} → {} runs up: {names}", file.display(), other.display());
            }
        }
    }
    for part in needs.keys().filter(|part| floor(part).is_none()) {
        _ = writeln!(wrong, "{name}/src: `{part}` has no floor");
    }
    for part in listed.iter().filter(|part| !needs.contains_key(**part)) {
        _ = writeln!(wrong, "{name}/src: there is no module `{part}`");
    }
    if !wrong.is_empty() {
        wrong += &advice(&needs);
    }
    wrong
}

fn advice(needs: &Needs<String>) -> String {
    let mut needs = needs.clone();
    needs.retain(|part, _| part != "lib" && part != "main");
    match order(&needs) {
        Some(order) => {
            format!("  Mend the import, or write another order into FLOORS. This one holds: {}\n", order.join(" "))
        }
        None => {
            let circles: Vec<String> =
                circles(&needs).iter().map(|circle| circle.iter().cloned().collect::<Vec<_>>().join(" ")).collect();
            format!(
                "  No order holds, because of these circles of modules: {}\n  Mend the imports, or where only a part of a \
                 module lies lower, name that part by itself, as `qemu/spec`.\n",
                circles.join("; ")
            )
        }
    }
}

#[cfg(test)]
mod made_up {
    //! Crates made up to show what is found and what is not.

    use super::*;

    fn crate_of(files: &[(&str, &str)]) -> Imports {
        imports(&files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect())
    }

    #[test]
    fn a_crate_whose_imports_run_down_is_fine() {
        let fine = crate_of(&[
            ("lib.rs", "mod a; mod b; pub use b::B; pub fn run() -> B { b::make() }"),
            ("a.rs", "pub struct A; impl A { pub fn b(&self) {} }"),
            ("b/mod.rs", "mod inner; pub use inner::{Inner, B}; pub use inner::make;"),
            (
                "b/inner.rs",
                "use crate::a::A; use std::fmt; pub struct B; pub struct Inner; pub fn make() -> B { A.b(); B }
                 #[cfg(test)] mod tests { use super::super::*; use crate::run; }
                 #[cfg(test)] fn probe() { crate::run(); }",
            ),
        ]);
        assert_eq!(circle_faults("x", &fine), "");
        assert_eq!(floor_faults("x", &fine, "a b"), "");
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let two = crate_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::{self, B}; pub struct A;"),
            ("b.rs", "use super::a; pub struct B(a::A);"),
        ]);
        let found = circle_faults("x", &two);
        assert!(found.contains("a.rs → b.rs: B") && found.contains("b.rs → a.rs: A"), "{found}");
    }

    #[test]
    fn a_circle_of_three_is_seen_through_reexports_macros_and_inline_paths() {
        let three = crate_of(&[
            ("lib.rs", "mod a; mod b; mod c; pub use c::inner::deep::C as Renamed;"),
            ("a.rs", "pub fn a() { println!(\"{}\", crate::b::text()); }"),
            ("b.rs", "pub fn text() -> u8 { use crate::Renamed as Other; Other::new() }"),
            ("c/mod.rs", "pub mod inner;"),
            ("c/inner/mod.rs", "pub mod deep;"),
            ("c/inner/deep.rs", "use crate::{a as other}; pub struct C; impl C { fn new() { other::a() } }"),
        ]);
        let found = circle_faults("x", &three);
        assert!(found.contains("these 3 files"), "{found}");
        assert!(found.contains("b.rs → c/inner/deep.rs") && found.contains("c/inner/deep.rs → a.rs"), "{found}");
        assert!(!found.contains("lib.rs"), "{found}");
    }

    #[test]
    fn a_child_that_imports_from_its_mod_rs_which_uses_it_is_a_circle() {
        let above = "mod child; pub struct Kind; pub fn run() { child::run(Kind) }";
        for child in ["use super::Kind; pub fn run(_: Kind) {}", "use super::*; pub fn run(_: Kind) {}"] {
            let both = crate_of(&[("lib.rs", "mod a;"), ("a/mod.rs", above), ("a/child.rs", child)]);
            assert!(circle_faults("x", &both).contains("a/child.rs → a/mod.rs: Kind"), "{child}");
        }
        let reexported = "mod child; pub use child::run; pub struct Kind;";
        let only_offered = crate_of(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", reexported),
            ("a/child.rs", "use super::Kind; pub fn run(_: Kind) {}"),
        ]);
        assert_eq!(circle_faults("x", &only_offered), "", "a re-export alone needs nothing");
        let used = "mod child; pub use child::run; pub struct Kind; pub fn both() { run(Kind) }";
        let both = crate_of(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", used),
            ("a/child.rs", "use super::Kind; pub fn run(_: Kind) {}"),
        ]);
        assert!(circle_faults("x", &both).contains("these 2 files"), "what is offered is used too");
    }

    #[test]
    fn what_is_offered_from_outside_its_own_children_is_an_import() {
        for offer in ["pub use crate::roof::Roof;", "pub(crate) use super::roof::*;"] {
            let up = crate_of(&[
                ("lib.rs", "mod ground; mod roof;"),
                ("ground/mod.rs", offer),
                ("roof.rs", "pub struct Roof; fn stand() { crate::ground::hold() }"),
            ]);
            assert!(floor_faults("x", &up, "ground roof").contains("ground/mod.rs → roof.rs runs up"), "{offer}");
            assert!(circle_faults("x", &up).contains("these 2 files"), "{offer}");
        }
    }

    #[test]
    fn globs_macros_derives_and_other_configurations_hide_nothing() {
        for (how, up) in [
            ("a glob that brings a trait's methods", "use crate::roof::*; fn f() { 1.m() }"),
            ("a glob that brings what a macro makes", "use crate::roof::*; fn f(_: Made) {}"),
            ("a re-exported glob", "fn f(_: crate::Roof) {}"),
            ("a name in a derive", "use crate::roof; #[serde(serialize_with = \"roof::write\")] struct G;"),
            ("a feature", "#[cfg(feature = \"x\")] fn f(_: crate::roof::Roof) {}"),
            ("not only tests", "#[cfg(any(test, feature = \"x\"))] mod m { use crate::roof::Roof; }"),
            ("a macro's body", "macro_rules! g { () => { $crate::roof::Roof } }"),
            ("a macro's argument", "fn f() { assert!(crate::roof::Roof.m()) }"),
        ] {
            let made_up = crate_of(&[
                ("lib.rs", "mod ground; mod roof; pub use roof::*;"),
                ("ground.rs", up),
                ("roof.rs", "pub struct Roof; pub trait T { fn m(&self) {} } pub fn write() {} made! { Made }"),
            ]);
            assert!(floor_faults("x", &made_up, "ground roof").contains("ground.rs → roof.rs runs up"), "{how}");
        }
        let macros = crate_of(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "macro_rules! make { () => {} } mod child; pub struct K(child::C);"),
            ("a/child.rs", "make!(); pub struct C;"),
        ]);
        assert!(circle_faults("x", &macros).contains("a/child.rs → a/mod.rs: make"), "a macro needs no import");
    }

    #[test]
    fn what_would_hide_imports_is_refused() {
        for hidden in [
            "include!(\"b.rs\");",
            "#[path = \"b.rs\"] mod c;",
            "#[cfg_attr(all(unix, test), path = \"b.rs\")] mod c;",
            "#[macro_use] mod c;",
            "#[macro_export] macro_rules! m { () => {} }",
        ] {
            let read = || crate_of(&[("lib.rs", "mod a;"), ("a.rs", hidden), ("c.rs", ""), ("a/c.rs", "")]);
            assert!(std::panic::catch_unwind(read).is_err(), "{hidden}");
        }
    }

    #[test]
    fn an_import_that_runs_up_is_told_with_an_order_that_holds() {
        let up = crate_of(&[
            ("lib.rs", "mod ground; mod roof; pub struct Whole;"),
            ("ground.rs", "use crate::roof::Roof; use crate::Whole;"),
            ("roof.rs", "pub struct Roof;"),
        ]);
        let found = floor_faults("x", &up, "ground roof");
        assert!(found.contains("ground.rs → roof.rs runs up: Roof"), "{found}");
        assert!(found.contains("ground.rs → lib.rs runs up: Whole"), "{found}");
        assert!(found.contains("This one holds: roof ground"), "{found}");
        let found = floor_faults("x", &up, "roof cellar");
        assert!(found.contains("`ground` has no floor") && found.contains("no module `cellar`"), "{found}");
    }

    #[test]
    fn a_part_of_a_module_may_lie_lower_than_the_rest_of_it() {
        let parts = crate_of(&[
            ("lib.rs", "mod machine; mod qemu;"),
            ("machine.rs", "pub struct Machine(crate::qemu::spec::Spec);"),
            ("qemu/mod.rs", "pub mod spec; mod start;"),
            ("qemu/spec.rs", "pub struct Spec;"),
            ("qemu/start.rs", "use crate::machine::Machine;"),
        ]);
        assert!(floor_faults("x", &parts, "machine qemu").contains("No order holds"));
        assert_eq!(floor_faults("x", &parts, "qemu/spec machine qemu"), "");
    }
}
