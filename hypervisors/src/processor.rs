//! Who has the processor's virtualization. A driver such as KVM's or VirtualBox's takes it for itself while any of its machines runs, and
//! those of another fail then, or die with what runs already. So each machine that needs such a driver is claimed for first: claims of one
//! driver go together, and one of another waits for all that came before it.
//!
//! A claim is a name in the kernel, which all users of the host see and which dies with its process: nothing is left of it after a crash.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the kernel lists the names of sockets.
const NAMES: &str = "/proc/net/unix";

/// The longest name of a socket, in bytes.
const LONGEST_NAME: usize = 107;

/// Tickets count claims one by one from 1; a name with a higher one is none of ours, and would leave none above it.
const HIGHEST_TICKET: u64 = 1 << 48;

/// What a machine needs of the processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorUse {
    /// The driver that takes the processor, as people are told of it: `KVM`.
    pub driver: &'static str,
    /// Which processor: `host`, but in tests, which keep out of each other's way.
    pub processor: String,
}

impl ProcessorUse {
    /// The host's processor, by `driver`.
    pub fn of_host(driver: &'static str) -> Self {
        Self { driver, processor: "host".to_owned() }
    }

    fn prefix(&self) -> String {
        format!("kiln-processor-{}-", self.processor)
    }
}

/// Somebody who has the processor, or comes before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// A build of Kiln's, of any user.
    Build {
        /// Its driver.
        driver: String,
        /// Its job.
        job: String,
        /// Its name, `virtualbox-iso.web`; cut off where it is long.
        build: String,
    },
    /// A machine that no build of Kiln's claims for: others run it, or a build that died has left it.
    Machine {
        /// Its driver.
        driver: &'static str,
        /// How it is known: `the machine web (process 123)`.
        name: String,
    },
}

impl Occupant {
    /// The driver that has the processor.
    pub fn driver(&self) -> &str {
        match self {
            Self::Build { driver, .. } => driver,
            Self::Machine { driver, .. } => driver,
        }
    }
}

/// A claim to the processor, held until dropped: an older one of another driver is in its way, a younger one waits for it.
#[derive(Debug)]
pub struct ProcessorClaim {
    wanted: ProcessorUse,
    ticket: u64,
    _name: UnixDatagram,
}

impl ProcessorClaim {
    /// Claims the processor for a build; `None`: somebody else is just doing so, which takes no time, so try again. Anybody on the host
    /// can have the names for as long as they like: set limits to the waits for them.
    ///
    /// # Errors
    ///
    /// The kernel does not list names, or does not give one.
    pub fn make(wanted: &ProcessorUse, job: &str, build: &str) -> io::Result<Option<Self>> {
        let prefix = wanted.prefix();
        // One at a time, so that whoever has a lower ticket is seen by all with a higher.
        let Some(_turn) = bind(&format!("{prefix}turn"))? else { return Ok(None) };
        let ticket = entries(&prefix)?.iter().map(|entry| entry.ticket).max().unwrap_or_default().saturating_add(1);
        let mut name = format!("{prefix}{ticket:x}/{}/{}/{}", wanted.driver, part(job), part(build));
        name.truncate(name.floor_char_boundary(LONGEST_NAME));
        let bound = bind(&name)?.ok_or_else(|| io::Error::other(format!("the name {name} is taken")))?;
        Ok(Some(Self { wanted: wanted.clone(), ticket, _name: bound }))
    }

    /// The oldest claim of another driver that came before this one; `None`: the processor is free for this one's.
    ///
    /// # Errors
    ///
    /// The kernel does not list names.
    pub fn in_the_way(&self) -> io::Result<Option<Occupant>> {
        let mut before = entries(&self.wanted.prefix())?;
        before.retain(|entry| entry.ticket < self.ticket && entry.driver != self.wanted.driver);
        let oldest = before.into_iter().min_by_key(|entry| entry.ticket);
        Ok(oldest.map(|Entry { driver, job, build, .. }| Occupant::Build { driver, job, build }))
    }
}

/// A name that one socket at a time can have; `None`: another has it.
fn bind(name: &str) -> io::Result<Option<UnixDatagram>> {
    match UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

/// Text as it may stand between two `/` of a name that people are shown.
fn part(text: &str) -> String {
    text.chars().map(|c| if c == '/' || c == '@' || c.is_control() { '_' } else { c }).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    ticket: u64,
    driver: String,
    job: String,
    build: String,
}

fn entries(prefix: &str) -> io::Result<Vec<Entry>> {
    Ok(entries_in(&String::from_utf8_lossy(&std::fs::read(NAMES)?), prefix))
}

/// Reads the kernel's table, whose last column has the names; those without a file begin with `@`.
fn entries_in(table: &str, prefix: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (_, name) = line.split_once(&format!(" @{prefix}"))?;
        let mut parts = name.splitn(4, '/');
        let ticket = u64::from_str_radix(parts.next()?, 16).ok().filter(|&ticket| ticket < HIGHEST_TICKET)?;
        let mut text = || Some(part(parts.next()?));
        Some(Entry { ticket, driver: text()?, job: text()?, build: text().unwrap_or_default() })
    };
    table.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Processor(String);

    impl Processor {
        fn new() -> Self {
            Self(uuid::Uuid::new_v4().simple().to_string())
        }

        fn claim(&self, driver: &'static str, build: &str) -> ProcessorClaim {
            let wanted = ProcessorUse { driver, processor: self.0.clone() };
            // A neighbour's child has a copy of the turn's socket between its fork and its exec.
            loop {
                if let Some(claim) = ProcessorClaim::make(&wanted, "0197-job", build).unwrap() {
                    return claim;
                }
                std::thread::yield_now();
            }
        }
    }

    fn blocker(claim: &ProcessorClaim) -> Option<String> {
        claim.in_the_way().unwrap().map(|occupant| match occupant {
            Occupant::Build { driver, job, build } => format!("{driver} {job} {build}"),
            Occupant::Machine { name, .. } => name,
        })
    }

    #[test]
    fn those_of_one_driver_go_together_and_another_waits_for_all_before_it() {
        let processor = Processor::new();
        let first = processor.claim("VirtualBox", "virtualbox-iso.a");
        let with_it = processor.claim("VirtualBox", "virtualbox-iso.b");
        let waits = processor.claim("KVM", "qemu.c");
        // It came after one that waits: who builds without end with one driver does not shut out the other.
        let later = processor.claim("VirtualBox", "virtualbox-iso.d");
        assert_eq!((blocker(&first), blocker(&with_it)), (None, None));
        assert_eq!(blocker(&waits).as_deref(), Some("VirtualBox 0197-job virtualbox-iso.a"));
        assert_eq!(blocker(&later).as_deref(), Some("KVM 0197-job qemu.c"));
        // A program that a neighbouring test is just starting has a copy of every name for a moment.
        let eventually = |claim: &ProcessorClaim, expected: Option<&str>| {
            let begun = std::time::Instant::now();
            while blocker(claim).as_deref() != expected {
                assert!(begun.elapsed().as_secs() < 30, "{:?}, not {expected:?}", blocker(claim));
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        };
        drop(first);
        eventually(&waits, Some("VirtualBox 0197-job virtualbox-iso.b"));
        drop(with_it);
        eventually(&waits, None);
        assert!(blocker(&later).is_some());
        drop(waits);
        eventually(&later, None);
    }

    #[test]
    fn claims_at_the_same_moment_never_both_get_it() {
        let processor = Processor::new();
        let claimants: Vec<_> = (0..12)
            .map(|number| {
                let driver = if number % 2 == 0 { "KVM" } else { "VirtualBox" };
                let wanted = ProcessorUse { driver, processor: processor.0.clone() };
                std::thread::spawn(move || {
                    loop {
                        if let Some(claim) = ProcessorClaim::make(&wanted, "job", "build").unwrap() {
                            let free = claim.in_the_way().unwrap().is_none();
                            return (claim, free);
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let claims: Vec<_> = claimants.into_iter().map(|claimant| claimant.join().unwrap()).collect();
        let mut free: Vec<_> = claims.iter().filter(|(_, free)| *free).map(|(claim, _)| claim.wanted.driver).collect();
        free.dedup();
        assert_eq!(free.len(), 1, "{claims:?}");
    }

    #[test]
    fn names_are_cut_and_cleaned_and_what_is_no_claim_is_none() {
        let processor = Processor::new();
        let other = processor.claim("VirtualBox", &format!("a/b\n@{}", "ü".repeat(100)));
        let waits = processor.claim("KVM", "x");
        let Some(Occupant::Build { build, .. }) = waits.in_the_way().unwrap() else { panic!("{other:?}") };
        assert!(build.starts_with("a_b__ü"), "{build}");
        let table = "Num RefCount Protocol\n0: 2 0 0 2 1 123 @kiln-processor-host-turn\n0: 2 @kiln-processor-host-zz/KVM/j/b\n\
                     0: @kiln-processor-host-ffffffffffffffff/KVM/j/b\n0: @kiln-processor-host-1f/KVM/job/bu ild\n0: @kiln-processor-other-1/KVM/j/b\n0: @kiln-processor-host-1/KVM\n";
        let (driver, job, build) = ("KVM".to_owned(), "job".to_owned(), "bu ild".to_owned());
        assert_eq!(entries_in(table, "kiln-processor-host-"), [Entry { ticket: 31, driver, job, build }]);
    }
}
