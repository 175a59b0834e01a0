//! What each option of a machine becomes in the hypervisor's own words, from the template on: QEMU's switches, VBoxManage's calls, VMX entries
//! (`machine_words.txt`). An option that has no words there, and is not named here with the test that shows it, fails.

mod elsewhere;

use std::fmt::Write as _;
use std::path::Path;

use kiln_hypervisors::{MachineSpec, qemu, virtualbox, vmware};

use self::elsewhere::{NOT_OF_THE_MACHINE, SHOWN_ELSEWHERE};
use super::component::{Body, running, source};
use crate::machine_build::{MachineBuilder, Media};
use crate::options::Definition;
use crate::plan::SourcePlan;
use crate::sources;
use crate::steps::output_directory::tests::Job;

const GOLDEN: &str = "src/plan_tests/machine_words.txt";

/// A block of the golden file.
struct Block {
    kind: String,
    /// `NAME = VALUE`; the first is the one that is shown.
    options: Vec<(String, String)>,
    header: String,
    words: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with(['+', '-']) {
            blocks.last_mut().unwrap().words.push(line.to_owned());
            continue;
        }
        let (kind, options) = line.split_once(": ").unwrap();
        let option = |option: &str| {
            let (name, value) = option.split_once(" = ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        let options = options.split("  with  ").flat_map(|options| options.split("  and  ")).map(option).collect();
        blocks.push(Block { kind: kind.to_owned(), options, header: line.to_owned(), words: Vec::new() });
    }
    blocks
}

/// A place with what the machines are made of.
struct World {
    job: Job,
    place: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { job: Job::new(), place: tempfile::tempdir().unwrap() };
        let original = "scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"disk.vmdk\"\n\
                        ethernet0.present = \"TRUE\"\nethernet0.connectionType = \"nat\"\n";
        std::fs::write(world.place.path().join("original.vmx"), original).unwrap();
        world
    }

    /// The machine's words, one setting each.
    fn words(&self, definition: &'static Definition, options: &[(String, String)]) -> Vec<String> {
        let kind = definition.schema.kind;
        let place = self.place.path();
        let mut body = Body::from([("vm_name", "\"guest\"".to_owned()), ("ssh_username", "\"u\"".to_owned())]);
        let made_of = match kind {
            "vmware-vmx" => Some(format!("{:?}", place.join("original.vmx").display().to_string())),
            "virtualbox-ovf" => Some("\"/x.ova\"".to_owned()),
            _ => None,
        };
        body.extend(made_of.map(|package| ("source_path", package)));
        for (name, value) in options {
            let spec = definition.schema.spec(name).unwrap_or_else(|| panic!("{kind} has no option {name}"));
            body.insert(spec.name, value.clone());
        }
        let plan = source(definition, &body);
        let spec = self.spec(&plan);
        let words = match kind.split('-').next() {
            Some("qemu") => qemu::preview(&spec).unwrap(),
            Some("virtualbox") => {
                let setting = |call: Vec<String>| {
                    let line = call.join(" ").replace(" --", "\n--");
                    line.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
                };
                virtualbox::preview(&spec).unwrap().into_iter().flat_map(setting).collect()
            }
            _ => {
                let vmx = vmware::preview(&spec).unwrap().unwrap().to_string();
                // These are added when it starts: `machine_file.rs` and `vmrun.rs` have their words.
                let password = |given: Option<String>| given.map_or("without a password", |_| "with a password");
                let vnc =
                    spec.vnc.map(|vnc| format!("VNC at {} from {} {}", vnc.bind, vnc.port_min, password(vnc.password)));
                let added = vnc.into_iter().chain(spec.window.then(|| "a window".to_owned()));
                vmx.lines().map(ToOwned::to_owned).chain(added).collect()
            }
        };
        let place = place.display().to_string();
        let here = std::env::current_dir().unwrap().display().to_string();
        words
            .into_iter()
            .filter(|word| !word.starts_with("--setuuid"))
            .map(|word| word.replace(&place, "PLACE").replace(&here, "HERE"))
            .collect()
    }

    fn spec(&self, plan: &SourcePlan) -> MachineSpec {
        let builder: &dyn MachineBuilder = sources::machine(plan).unwrap();
        let (guest, place) = (builder.guest(), Path::new("/work"));
        let attached = match plan {
            SourcePlan::VirtualBox(plan) => plan.additions.mode == crate::plan::AdditionsMode::Attach,
            SourcePlan::Vmware(plan) => plan.tools.mode.as_deref() == Some("attach"),
            _ => false,
        };
        let media = Media {
            image: Some(place.join("image")),
            floppy: guest.floppy.map(|_| place.join("floppy.img")),
            cd: guest.cd.map(|_| place.join("cd.iso")),
            tools: attached.then(|| place.join("tools.iso")),
            work: place.to_owned(),
            sockets: place.to_owned(),
        };
        let render = |text: &str| Ok(text.replace("{{.Name}}", "guest"));
        builder.spec(&media, &render, &self.job.context(false)).unwrap()
    }

    fn difference(&self, block: &Block) -> Vec<String> {
        let definition = definition(&block.kind);
        let (plain, changed) = (self.words(definition, &block.options[1..]), self.words(definition, &block.options));
        let only = |sign: char, these: &[String], those: &[String]| {
            // A word that is there twice, and then once, is one that went.
            let mut rest = those.to_vec();
            let mut only = Vec::new();
            for word in these {
                match rest.iter().position(|other| other == word) {
                    Some(found) => drop(rest.remove(found)),
                    None => only.push(format!("{sign} {word}")),
                }
            }
            only
        };
        [only('-', &plain, &changed), only('+', &changed, &plain)].concat()
    }
}

fn definition(kind: &str) -> &'static Definition {
    running().find(|definition| definition.schema.kind == kind).unwrap_or_else(|| panic!("there is no builder {kind}"))
}

#[test]
fn each_option_of_a_machine_has_its_words() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    let text = std::fs::read_to_string(&path).unwrap();
    let (world, mut told) = (World::new(), String::new());
    text.lines().take_while(|line| line.starts_with('#')).for_each(|line| writeln!(told, "{line}").unwrap());
    let mut wrong = Vec::new();
    for block in blocks(&text) {
        let found = world.difference(&block);
        write!(told, "\n{}\n", block.header).unwrap();
        found.iter().for_each(|word| writeln!(told, "{word}").unwrap());
        if found.is_empty() || found != block.words {
            wrong.push(format!("{}\n  is {found:#?}\n  and was {:#?}", block.header, block.words));
        }
    }
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(&path, told).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_option_of_a_machine_is_without_words() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN)).unwrap();
    let blocks = blocks(&text);
    let fits = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    let mut without = Vec::new();
    for kind in ["qemu", "virtualbox-iso", "virtualbox-ovf", "virtualbox-vm", "vmware-iso", "vmware-vmx"] {
        let digest_only = super::digest::of_no_use(kind);
        for spec in definition(kind).schema.specs().filter(|spec| !spec.name.starts_with("packer_")) {
            let has_words = blocks.iter().any(|block| block.kind == kind && block.options[0].0 == spec.name);
            let is_elsewhere =
                SHOWN_ELSEWHERE.iter().any(|(of, name, _, _)| kind.starts_with(of) && fits(name, spec.name));
            // The same code reads them for all builders of a family, and the first of it has their words.
            let is_of_no_use = digest_only.contains(&spec.name);
            if !has_words
                && !is_elsewhere
                && !is_of_no_use
                && !NOT_OF_THE_MACHINE.iter().any(|pattern| fits(pattern, spec.name))
            {
                without.push(format!("{kind}.{}", spec.name));
            }
        }
    }
    assert!(without.is_empty(), "{without:#?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (of, name, file, test) in SHOWN_ELSEWHERE {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(text.contains(&format!("fn {test}(")), "{of}.{name} is shown by {test}, which is not in {file}");
    }
}
