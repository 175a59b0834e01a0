//! What guest and builder offered each other when they had nothing in common, and which setting would change that.

use std::fmt;

/// The most names of one side that are told.
const MAX_NAMES: usize = 40;

/// The longest name that is told; RFC 4251 allows 64 characters.
const MAX_NAME: usize = 64;

/// What is agreed on before anybody logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlgorithmKind {
    /// How a secret is agreed on.
    KeyExchange,
    /// How the guest shows who it is.
    HostKey,
    /// How everything after that is encrypted.
    Cipher,
    /// How it is protected against changes.
    Mac,
    /// How it is compressed.
    Compression,
}

impl AlgorithmKind {
    fn words(self) -> &'static str {
        match self {
            Self::KeyExchange => "key exchange algorithm",
            Self::HostKey => "host key algorithm",
            Self::Cipher => "cipher",
            Self::Mac => "MAC",
            Self::Compression => "compression",
        }
    }

    /// The option that says what is offered, where there is one.
    fn option(self) -> Option<&'static str> {
        match self {
            Self::KeyExchange => Some("ssh_key_exchange_algorithms"),
            Self::Cipher => Some("ssh_ciphers"),
            Self::HostKey | Self::Mac | Self::Compression => None,
        }
    }

    /// What says it in the guest's `sshd_config`.
    fn directive(self) -> &'static str {
        match self {
            Self::KeyExchange => "KexAlgorithms",
            Self::HostKey => "HostKeyAlgorithms and HostKey",
            Self::Cipher => "Ciphers",
            Self::Mac => "MACs",
            Self::Compression => "Compression",
        }
    }
}

/// Algorithms of one kind, of which the two sides have none in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What could not be agreed on.
    pub kind: AlgorithmKind,
    /// What we offered.
    pub ours: Vec<String>,
    /// What the guest offered.
    pub theirs: Vec<String>,
    /// Those of the guest's that we have, too, and offer only when they are named.
    pub on_request: Vec<String>,
}

impl Mismatch {
    /// Makes one of the names as they came; the guest may have sent anything. `known`: whether we have an algorithm at all.
    pub(crate) fn new(kind: AlgorithmKind, ours: &[String], theirs: &[String], known: impl Fn(&str) -> bool) -> Self {
        let theirs = printable(theirs);
        let on_request = theirs.iter().filter(|name| known(name)).cloned().collect();
        Self { kind, ours: printable(ours), theirs, on_request }
    }

    /// What the user can set, here or in the guest.
    pub(crate) fn hint(&self) -> String {
        let (directive, ours) = (self.kind.directive(), self.ours.join(", "));
        match self.kind.option() {
            Some(option) if !self.on_request.is_empty() => {
                let names: Vec<String> = self.on_request.iter().map(|name| format!("{name:?}")).collect();
                format!(
                    "set {option} = [{}], which the guest offers, or have its SSH server offer another ({directive} in its sshd_config)",
                    names.join(", ")
                )
            }
            Some(option) => format!(
                "have the guest's SSH server offer one of {ours} ({directive} in its sshd_config); {option} names others that Kiln has"
            ),
            None => format!("have the guest's SSH server offer one of {ours} ({directive} in its sshd_config)"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.words();
        write!(f, "guest and builder have no {kind} in common (we offer: {}", self.ours.join(", "))?;
        match &self.theirs[..] {
            [] => f.write_str("; the guest offers none)"),
            theirs => write!(f, "; the guest offers: {})", theirs.join(", ")),
        }
    }
}

/// Whether a name in the list of key exchanges is a flag of the protocol, which nobody could set.
fn is_flag(name: &str) -> bool {
    name.starts_with("ext-info-") || name.starts_with("kex-strict-")
}

fn printable(names: &[String]) -> Vec<String> {
    let clean = |name: &String| name.chars().filter(char::is_ascii_graphic).take(MAX_NAME).collect::<String>();
    names.iter().map(clean).filter(|name| !name.is_empty() && !is_flag(name)).take(MAX_NAMES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn both_sides_are_told_and_what_to_set() {
        let (ours, theirs) = (names(&["aes128-ctr"]), names(&["arcfour", "aes128-cbc"]));
        let mismatch = Mismatch::new(AlgorithmKind::Cipher, &ours, &theirs, |name| name == "aes128-cbc");
        assert_eq!(
            mismatch.to_string(),
            "guest and builder have no cipher in common (we offer: aes128-ctr; the guest offers: arcfour, aes128-cbc)"
        );
        let hint = mismatch.hint();
        assert!(hint.starts_with("set ssh_ciphers = [\"aes128-cbc\"], which the guest offers"), "{hint}");
    }

    #[test]
    fn what_nobody_can_set_here_is_set_in_the_guest() {
        let mismatch = Mismatch::new(AlgorithmKind::HostKey, &names(&["ssh-ed25519"]), &names(&["ssh-dss"]), |_| false);
        let hint = mismatch.hint();
        assert!(hint.contains("offer one of ssh-ed25519 (HostKeyAlgorithms") && !hint.contains("ssh_"), "{hint}");
        let unknown = Mismatch::new(AlgorithmKind::KeyExchange, &names(&["a"]), &names(&["b"]), |_| false);
        assert!(unknown.hint().contains("ssh_key_exchange_algorithms names others"), "{}", unknown.hint());
    }

    #[test]
    fn a_guest_cannot_write_to_the_terminal_or_fill_the_log() {
        let theirs = vec!["\u{1b}[31mred\n".to_owned(), "kex-strict-s-v00@openssh.com".to_owned(), String::new()];
        let mismatch = Mismatch::new(AlgorithmKind::KeyExchange, &[], &theirs, |_| false);
        assert_eq!(mismatch.theirs, ["[31mred"]);
        let many = vec!["x".repeat(10_000); 10_000];
        assert!(Mismatch::new(AlgorithmKind::Mac, &[], &many, |_| false).to_string().len() < 4_000);
        let none = Mismatch::new(AlgorithmKind::Mac, &names(&["a"]), &[], |_| false);
        assert!(none.to_string().ends_with("(we offer: a; the guest offers none)"), "{none}");
    }
}
