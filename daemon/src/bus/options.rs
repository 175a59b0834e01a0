//! The `a{sv}` that methods take: options with types that are checked, flags of which none is defined yet.

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

use super::failure::Failure;

/// Named values of a call.
pub(super) type Named = HashMap<String, OwnedVariant>;

/// The options of a method. Those that it does not know are hints of a later version, and ignored; flags that it does not know change
/// what is asked for, and are refused.
pub(super) struct Options(Named);

impl Options {
    pub(super) fn new(named: Named) -> Result<Self, Failure> {
        let options = Self(named);
        match options.get("flags", "t", |value| u64::try_from(value).ok())? {
            None | Some(0) => Ok(options),
            Some(flags) => Err(Failure::argument(format!("`flags` has bits that mean nothing here: {flags:#x}"))),
        }
    }

    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>, Failure> {
        self.get(name, "b", |value| bool::try_from(value).ok())
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, Failure> {
        self.get(name, "u", |value| u32::try_from(value).ok())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        self.get(name, "s", |value| <&str>::try_from(value).ok().map(str::to_owned))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Failure> {
        let texts = |value: &Variant<'_>| match value {
            Variant::Array(array) => array.inner().iter().map(|text| String::try_from(text).ok()).collect(),
            _ => None,
        };
        self.get(name, "as", texts)
    }

    fn get<T>(
        &self,
        name: &str,
        signature: &str,
        read: impl FnOnce(&Variant<'_>) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let wrong = || {
            let other = value.value_signature();
            Failure::argument(format!("`{name}` is of type `{other}`, not `{signature}`"))
        };
        if value.value_signature().to_string() != signature {
            return Err(wrong());
        }
        read(value).map(Some).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::INVALID_ARGUMENTS;
    use super::*;

    fn options(values: Vec<(&str, Variant<'_>)>) -> Result<Options, Failure> {
        let named = values.into_iter().map(|(name, value)| (name.to_owned(), value.try_into_owned().unwrap()));
        Options::new(named.collect())
    }

    #[test]
    fn types_are_checked_flags_refused_and_hints_ignored() {
        let good = options(vec![
            ("flags", 0u64.into()),
            ("hint", 7u8.into()),
            ("follow", true.into()),
            ("build", "qemu.a".into()),
            ("state", vec!["queued"].into()),
        ])
        .unwrap();
        assert_eq!(good.truth("follow"), Ok(Some(true)));
        assert_eq!(good.text("build").unwrap().as_deref(), Some("qemu.a"));
        assert_eq!(good.texts("state").unwrap().unwrap(), ["queued"]);
        assert_eq!(good.number("limit"), Ok(None));
        let wrong = good.number("follow").unwrap_err();
        assert_eq!((wrong.name, &*wrong.text), (INVALID_ARGUMENTS, "`follow` is of type `b`, not `u`"));
        let flags = options(vec![("flags", 5u64.into())]).err().unwrap();
        assert!(flags.text.contains("0x5"), "{flags:?}");
        assert!(options(vec![("flags", "x".into())]).is_err(), "flags of another type are no flags");
    }
}
