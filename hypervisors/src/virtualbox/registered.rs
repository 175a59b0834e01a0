//! The machines in VirtualBox's registry, as `list vms` tells them.

/// A machine in VirtualBox's registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered {
    /// Its name.
    pub(super) name: String,
    /// Its UUID.
    pub(super) uuid: String,
}

/// Reads `list vms`: lines such as `"web" {11111111-2222-…}`; one that cannot be opened is `<inaccessible>`. A name may have line breaks, and
/// goes on until the UUID. Other lines are VirtualBox's own starter's, or of a program around it: they are passed over as long as no machine
/// can be hidden in them.
///
/// # Errors
///
/// The line that may hide a machine.
pub(super) fn machines(text: &str) -> Result<Vec<Registered>, &str> {
    let (mut machines, mut strange) = (Vec::new(), None);
    // The lines of a machine whose UUID has not come yet.
    let mut begun: Vec<&str> = Vec::new();
    for line in text.lines() {
        if !begun.is_empty() || line.starts_with('"') {
            begun.push(line);
            if let Some(uuid) = uuid_behind(line) {
                let whole = std::mem::take(&mut begun).join("\n");
                let name = whole[1..].rsplit_once("\" {").map_or("", |(name, _)| name);
                machines.push(Registered { name: name.to_owned(), uuid: uuid.to_owned() });
            }
        } else if line.contains('{') && !line.starts_with(INACCESSIBLE) {
            return Err(line);
        } else if !is_of_starter(line) {
            // Something without a UUID is no machine.
            tracing::warn!(line, "VirtualBox's list of machines has a line that is none");
            strange = strange.or(Some(line));
        }
    }
    match (begun.first(), strange) {
        (Some(begun), strange) => Err(strange.unwrap_or(begun)),
        // That there is no machine it has to say by saying nothing else.
        (None, Some(strange)) if machines.is_empty() => Err(strange),
        _ => Ok(machines),
    }
}

/// Whether the line stands for a machine that cannot be opened, is empty, or of a warning.
fn is_of_starter(line: &str) -> bool {
    line.trim().is_empty()
        || line.starts_with([' ', '\t'])
        || line.starts_with("WARNING:")
        || line.starts_with(INACCESSIBLE)
}

/// What stands for the name of a machine that cannot be opened.
const INACCESSIBLE: &str = "<inaccessible";

/// The UUID at the end of a machine's line, behind the end of its name: `" {11111111-2222-…}`.
fn uuid_behind(line: &str) -> Option<&str> {
    let (_, uuid) = line.trim_end().strip_suffix('}')?.rsplit_once("\" {")?;
    (!uuid.is_empty() && uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(name: &str, uuid: &str) -> Registered {
        Registered { name: name.to_owned(), uuid: uuid.to_owned() }
    }

    /// As VirtualBox 7.2.22 tells it.
    #[test]
    fn a_machine_whose_name_has_line_breaks_hides_no_other() {
        let uuid = "bd8a4633-f095-4280-90f9-e5a0812c0534";
        let list = format!("\"x\ny\" {{{uuid}}}\n\"web\" {{1-2}}\n\"\n\n {{3}}\n\" {{5-6}}\n");
        let expected = vec![registered("x\ny", uuid), registered("web", "1-2"), registered("\n\n {3}\n", "5-6")];
        assert_eq!(machines(&list), Ok(expected));
        assert_eq!(machines("\"x\ny\n"), Err("\"x"), "it may be one of ours");
    }

    #[test]
    fn a_line_that_can_be_no_machine_is_passed_over() {
        let web = vec![registered("web", "1-2")];
        assert_eq!(machines("Vagrant says hello.\n\"web\" {1-2}\nbye\n"), Ok(web));
        assert_eq!(machines("command not found\n"), Err("command not found"), "that is no empty list");
    }

    #[test]
    fn reads_machines() {
        assert_eq!(
            machines("WARNING: no driver.\n\t It is off.\n\n\"a {b} c\" {1-2}\n<inaccessible> {3-4}\n"),
            Ok(vec![registered("a {b} c", "1-2")])
        );
        assert_eq!(machines(""), Ok(vec![]));
        for garbage in ["\"a\"", "\"a\" {1-2", "\"a\" {web}", "a {1-2}", "\"=", "{1-2}"] {
            assert_eq!(machines(&format!("\"a\" {{1-2}}\n{garbage}\n")), Err(garbage));
        }
    }
}
