//! The disks that a machine has before the template's own entries are put over its file: these must not put others in their place, for
//! then the guest would write to a stranger's disk, and what is exported would not be what was built.

use kiln_disk_formats::package::vmx::Vmx;

use super::draft::VmxProblem;

/// Disks and their places.
#[derive(Debug)]
pub(super) struct OwnDisks(Vec<(String, String)>);

impl OwnDisks {
    /// The disks of `vmx`.
    pub(super) fn of(vmx: &Vmx) -> Result<Self, VmxProblem> {
        Ok(Self(vmx.disks()?.into_iter().map(|(place, file)| (place, file.to_owned())).collect()))
    }

    /// Looks whether `vmx` still has them, where they were or on another bus; one of which `may_go` is true may have been taken out.
    pub(super) fn check(&self, vmx: &Vmx, may_go: impl Fn(&str) -> bool) -> Result<(), VmxProblem> {
        let now = vmx.disks()?;
        for (place, file) in &self.0 {
            let places: Vec<&String> =
                now.iter().filter(|(_, found)| found == file).map(|(found_at, _)| found_at).collect();
            if let [one, other, ..] = places[..] {
                return Err(VmxProblem::Twice { file: file.clone(), places: [one.clone(), other.clone()] });
            }
            if places.is_empty()
                && let Some((moved, controller)) = without_controller(vmx, file, place)
            {
                return Err(VmxProblem::NoController { place: moved, file: file.clone(), controller });
            }
            let found = now.iter().find(|(other, _)| other == place).map(|(_, file)| *file);
            let is_strange = found.is_some_and(|found| !self.holds(found));
            if is_strange || places.is_empty() && !may_go(file) {
                let instead = found.map(str::to_owned);
                return Err(VmxProblem::Replaced { place: place.clone(), file: file.clone(), instead });
            }
        }
        Ok(())
    }

    /// Looks whether `vmx` has others beside them.
    pub(super) fn check_no_others(&self, vmx: &Vmx) -> Result<(), VmxProblem> {
        let mut now = vmx.disks()?.into_iter();
        match now.find(|(_, file)| !self.holds(file)) {
            Some((place, file)) => Err(VmxProblem::Added { place, file: file.to_owned() }),
            None => Ok(()),
        }
    }

    fn holds(&self, file: &str) -> bool {
        self.0.iter().any(|(_, own)| own == file)
    }
}

/// Finds a place other than `own` where a disk is put on a bus whose controller is not there, so that the machine does not have it;
/// returns both.
fn without_controller(vmx: &Vmx, file: &str, own: &str) -> Option<(String, String)> {
    let places = vmx.iter().filter(|(_, value)| *value == file).filter_map(|(key, _)| {
        let key = key.to_ascii_lowercase();
        let place = key.strip_suffix(".filename")?;
        Some((place.to_owned(), place.split_once(':')?.0.to_owned()))
    });
    let is_present =
        |device: &str| vmx.get(&format!("{device}.present")).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut missing = places.filter(|(place, controller)| is_present(place) && !is_present(controller));
    missing.find(|(place, _)| !place.eq_ignore_ascii_case(own))
}
