//! Owns [`Generated`]: what is known only while a build runs.

use std::collections::BTreeMap;

use crate::go_template::Value;
use crate::world::data::UNKNOWN;

/// What is known only while a build runs, for [`Component::decode`](crate::Component::decode).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Generated {
    /// The `build.*` values by their names: `ID`, `Host`, `Port`, `User`, …; also for `{{ build "ID" }}`.
    pub build: BTreeMap<String, String>,
    /// Data for Go templates in options that are not rendered late: `{{ .Field }}`. Usually empty.
    pub fields: BTreeMap<String, Value>,
}

impl Generated {
    /// Text that every `build.*` value reads before the build runs.
    pub const UNKNOWN: &'static str = UNKNOWN;

    /// The `build.*` values every builder has.
    pub const NAMES: &'static [&'static str] = &[
        "ID",
        "Host",
        "Port",
        "User",
        "Password",
        "ConnType",
        "PackerRunUUID",
        "PackerHTTPPort",
        "PackerHTTPIP",
        "PackerHTTPAddr",
        "SSHPublicKey",
        "SSHPrivateKey",
        "SSHPrivateKeyFile",
        "SSHAgentAuth",
        "WinRMPassword",
        "SourceImageName",
    ];

    /// Returns the values of plan time: every `build.*` reads [`Self::UNKNOWN`].
    #[must_use]
    pub fn plan() -> Self {
        Self {
            build: Self::NAMES.iter().map(|&name| (name.to_owned(), Self::UNKNOWN.to_owned())).collect(),
            fields: BTreeMap::new(),
        }
    }

    /// Sets one `build.*` value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.build.insert(name.into(), value.into());
        self
    }
}
