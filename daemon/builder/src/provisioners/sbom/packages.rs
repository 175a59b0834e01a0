//! What is installed in a guest: the question in its shell, and its answer.

/// One question for all systems. Each package is a line `name TAB version TAB architecture`, with a state behind it from dpkg.
pub(super) const QUESTION: &str = "cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null; \
if command -v dpkg-query >/dev/null 2>&1; then echo '== packages dpkg'; \
dpkg-query -W -f='${Package}\\t${Version}\\t${Architecture}\\t${db:Status-Status}\\n'; \
elif command -v rpm >/dev/null 2>&1; then echo '== packages rpm'; \
rpm -qa --qf '%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\n'; \
elif command -v apk >/dev/null 2>&1; then echo '== packages apk'; \
awk -F: '/^P:/{p=$2} /^V:/{v=$2} /^A:/{print p \"\\t\" v \"\\t\" $2}' /lib/apk/db/installed; \
elif command -v pacman >/dev/null 2>&1; then echo '== packages pacman'; pacman -Q | tr ' ' '\\t'; \
else echo '== packages none'; fi";

/// A package of the guest.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
}

/// A guest's system and all its packages, sorted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inventory {
    /// `debian`.
    pub(super) system: String,
    /// `12`.
    pub(super) release: String,
    /// The type of package URLs, `deb`.
    pub(super) kind: &'static str,
    pub(super) packages: Vec<Package>,
}

impl Inventory {
    /// Reads the answer; nothing where no package manager has answered.
    pub(super) fn read(answer: &str) -> Option<Self> {
        let (system, list) = answer.split_once("== packages ")?;
        let (manager, list) = list.split_once('\n')?;
        let kind = match manager.trim() {
            "dpkg" => "deb",
            "rpm" => "rpm",
            "apk" => "apk",
            "pacman" => "alpm",
            _ => return None,
        };
        let value = |name: &str| {
            let line = system.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        let mut packages: Vec<Package> = list.lines().filter_map(package).collect();
        packages.sort();
        packages.dedup();
        // What os-release(5) says of a system that does not say it.
        let system = Some(value("ID")).filter(|id| !id.is_empty()).unwrap_or_else(|| "linux".to_owned());
        Some(Self { system, release: value("VERSION_ID"), kind, packages })
    }

    /// The package's URL, by which databases of vulnerabilities know it.
    pub(super) fn url(&self, package: &Package) -> String {
        let mut url =
            format!("pkg:{}/{}/{}@{}", self.kind, part(&self.system), part(&package.name), part(&package.version));
        let qualifiers = [("arch", package.architecture.clone()), ("distro", self.distro())];
        let set = qualifiers.iter().filter(|(_, value)| !value.is_empty());
        for (at, (name, value)) in set.enumerate() {
            url.push_str(&format!("{}{name}={}", if at == 0 { '?' } else { '&' }, part(value)));
        }
        url
    }

    fn distro(&self) -> String {
        if self.release.is_empty() { String::new() } else { format!("{}-{}", self.system, self.release) }
    }
}

fn package(line: &str) -> Option<Package> {
    let mut fields = line.split('\t').map(str::trim);
    let (name, version) = (fields.next()?, fields.next()?);
    let architecture = fields.next().unwrap_or_default();
    // dpkg lists what has been removed, too.
    let is_there = fields.next().is_none_or(|state| state == "installed");
    (is_there && !name.is_empty() && !version.is_empty()).then(|| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
    })
}

/// Writes a text so that it is one part of a package URL.
fn part(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manager_s_answer_is_read() {
        let read = |manager: &str, list: &str| {
            Inventory::read(&format!("NAME=x\nID=\"sys\"\nVERSION_ID='1.2'\n== packages {manager}\n{list}"))
        };
        let found =
            read("dpkg", "zlib\t1:1.2+b1\tamd64\tinstalled\ngone\t1\tall\tconfig-files\na\t2\tall\tinstalled\n")
                .unwrap();
        assert_eq!((&*found.system, &*found.release, found.packages.len()), ("sys", "1.2", 2));
        assert_eq!(found.url(&found.packages[1]), "pkg:deb/sys/zlib@1:1.2%2Bb1?arch=amd64&distro=sys-1.2");
        let found = read("pacman", "bash\t5.2-1\n").unwrap();
        assert_eq!(found.url(&found.packages[0]), "pkg:alpm/sys/bash@5.2-1?distro=sys-1.2");
        assert_eq!(read("rpm", "x\t0:1-2\tnoarch\n").unwrap().kind, "rpm");
        assert_eq!(read("apk", "\t\t\nmusl\t1\tx86_64\n").unwrap().packages.len(), 1);
        let nameless = Inventory::read("== packages dpkg\nx\t1\tall\tinstalled\n").unwrap();
        assert_eq!(nameless.url(&nameless.packages[0]), "pkg:deb/linux/x@1?arch=all");
        assert_eq!((read("none", ""), Inventory::read("nothing")), (None, None));
    }

    #[test]
    fn the_question_is_a_command_that_a_shell_takes() {
        let output = std::process::Command::new("sh").args(["-c", QUESTION]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.contains("== packages "), "{answer} {:?}", output.stderr);
    }
}
