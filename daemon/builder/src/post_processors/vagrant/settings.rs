//! The options of one box: those of its provider, where `override` has any, before those for all.

use kiln_template::Options;

use super::provider::Provider;
use crate::archive::{Codec, Level};
use crate::error::StepError;
use crate::option_values::OptionValues;

/// What the template says of one box.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) codec: Codec,
    pub(super) include: Vec<String>,
    pub(super) output: String,
    /// A file for the Vagrantfile.
    pub(super) template: Option<String>,
    pub(super) architecture: Option<String>,
}

impl Settings {
    pub(super) fn read(values: OptionValues<'_>, options: &Options, provider: Provider) -> Self {
        let own = options.block("override").and_then(|providers| providers.block(provider.word()));
        let text = |name: &str| {
            let own = own.and_then(|own| own.string(name)).filter(|text| !text.is_empty());
            own.or_else(|| values.given(name)).map(str::to_owned)
        };
        let level = own.and_then(|own| own.integer("compression_level"));
        let level =
            level.or_else(|| values.is_set("compression_level").then(|| options.integer("compression_level"))?);
        let include = match own.map(|own| own.strings("include")) {
            Some(own) if !own.is_empty() => own.to_vec(),
            _ => values.texts("include"),
        };
        let output = text("output").or_else(|| values.text("output")).unwrap_or_default();
        Self {
            codec: codec(level),
            include,
            output,
            template: text("vagrantfile_template"),
            architecture: text("architecture"),
        }
    }
}

/// gzip at its own level, at one of 1 to 9, or a plain tar file for 0.
fn codec(level: Option<i64>) -> Codec {
    match level {
        Some(0) => Codec::Plain,
        Some(level @ 1..) => Codec::Gzip(Level::Some(u8::try_from(level.min(9)).unwrap_or(9))),
        _ => Codec::Gzip(None),
    }
}

/// The provider of the box that is to be made of an artifact of `builder`.
pub(super) fn provider(values: OptionValues<'_>, builder: &str) -> Result<Provider, StepError> {
    match values.given("provider_override") {
        Some(word) => Provider::named(word)
            .ok_or_else(|| StepError::new(format!("this version of Kiln makes no boxes for the provider {word}"))),
        None => Provider::of_builder(builder).ok_or_else(|| {
            StepError::new(format!("an artifact of {builder} does not say for which of Vagrant's providers it is"))
                .with_hint("set provider_override to libvirt, virtualbox or vmware")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_gzips_and_zero_is_a_plain_tar_file() {
        let codecs = [None, Some(-1), Some(0), Some(1), Some(9)].map(codec);
        let gzip = |level| Codec::Gzip(Some(level));
        assert_eq!(codecs, [Codec::Gzip(None), Codec::Gzip(None), Codec::Plain, gzip(1), gzip(9)]);
    }
}
