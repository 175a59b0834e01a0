//! Owns versions and what templates demand of them: `>= 1.2, < 2`.

use std::cmp::Ordering;

use crate::go_template::PACKER_VERSION;

/// A version: numbers, and whether it is a pre-release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: Vec<u64>,
    /// How many numbers were written.
    written: usize,
}

impl Version {
    fn current() -> Self {
        Self::parse(PACKER_VERSION).unwrap_or(Self { numbers: vec![0; 3], written: 3 })
    }

    /// Parses `1.2.3`, `v1.2`, `1.2.3-beta+meta`; the pre-release part does not count.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let core = text.split(['-', '+']).next()?;
        let mut numbers: Vec<u64> = core.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let written = numbers.len();
        while numbers.len() < 3 {
            numbers.push(0);
        }
        Some(Self { numbers, written })
    }

    fn order(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let at = |version: &Self, index: usize| version.numbers.get(index).copied().unwrap_or(0);
        (0..length)
            .map(|index| at(self, index).cmp(&at(other, index)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// `>= 1.2, < 2`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Constraints(Vec<(String, Version)>);

impl Constraints {
    /// Parses constraints separated by commas; the error says which part is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let length = part.find(|c: char| c.is_ascii_digit() || c == 'v').unwrap_or(part.len());
            let (operator, version) = part.split_at(length);
            let operator = operator.trim();
            if !["", "=", "!=", ">", ">=", "<", "<=", "~>"].contains(&operator) {
                return Err(format!("{operator:?} in {part:?} is not an operator"));
            }
            let version = Version::parse(version).ok_or_else(|| format!("{part:?} has no version number"))?;
            parts.push((operator.to_owned(), version));
        }
        Ok(Self(parts))
    }

    /// Reports whether the version whose language this is satisfies all.
    pub(crate) fn allow_current(&self) -> bool {
        self.allow(&Version::current())
    }

    /// Reports whether a version that is written like this satisfies all.
    pub(crate) fn allow_version(&self, version: &str) -> bool {
        Version::parse(version).is_some_and(|version| self.allow(&version))
    }

    fn allow(&self, version: &Version) -> bool {
        self.0.iter().all(|(operator, wanted)| {
            let order = version.order(wanted);
            match operator.as_str() {
                "!=" => order.is_ne(),
                ">" => order.is_gt(),
                ">=" => order.is_ge(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                "~>" => {
                    // Everything but the last written number must stay.
                    let fixed = wanted.written.saturating_sub(1);
                    order.is_ge()
                        && version.numbers.iter().zip(&wanted.numbers).take(fixed).all(|(have, want)| have == want)
                }
                _ => order.is_eq(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(constraints: &str, version: &str) -> bool {
        Constraints::parse(constraints).unwrap().allow(&Version::parse(version).unwrap())
    }

    #[test]
    fn constraints_compare_as_in_go_version() {
        assert!(allows(">= 1.7.0", "1.16.0"));
        assert!(allows("~> 1.7", "1.16.0"));
        assert!(!allows("~> 1.7.1", "1.16.0"));
        assert!(allows(">= 1.2, < 2", "1.16.0"));
        assert!(!allows("= 1.6.6", "1.16.0"));
        assert!(!allows("!= 1.16", "1.16.0"));
        assert!(Constraints::parse("=> 1").is_err());
        assert!(Constraints::parse("").is_err());
    }
}
