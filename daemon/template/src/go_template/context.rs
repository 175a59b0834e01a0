//! Owns [`Context`]: what a Go template can refer to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::value::Value;
use crate::world::data::DataMode;

/// What a Go template can refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// Data of the component: `{{ .HTTPIP }}`. A name that is not in here is an error, unless the data is open.
    pub fields: BTreeMap<String, Value>,
    /// Whether a name that is not in `fields` is `<no value>`, as Go has it where Packer's data is a map. Where there are no
    /// fields at all, which Go calls `nil`, that is so anyway.
    pub open: bool,
    /// What `{{ user "NAME" }}` gives; unknown names give an empty text, as in Packer.
    pub variables: Arc<BTreeMap<String, String>>,
    /// What `{{ build "ID" }}` gives.
    pub build: BTreeMap<String, String>,
    /// What `{{ env "NAME" }}` gives; nothing where Packer refuses `env`.
    pub environment: Option<BTreeMap<String, String>>,
    /// What is done where `consul_key` and `vault` need the world.
    pub data: DataMode,
    /// `{{ build_name }}`: the source's own name.
    pub build_name: Option<String>,
    /// `{{ build_type }}`: the builder's kind.
    pub build_type: Option<String>,
    /// `{{ template_dir }}`.
    pub template_dir: Option<PathBuf>,
    /// `{{ pwd }}`.
    pub cwd: PathBuf,
    /// Time of `{{ timestamp }}`, `{{ isotime }}` and `{{ strftime }}`.
    pub now: Timestamp,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            fields: BTreeMap::new(),
            open: false,
            variables: Arc::default(),
            build: BTreeMap::new(),
            environment: None,
            data: DataMode::Refuse,
            build_name: None,
            build_type: None,
            template_dir: None,
            cwd: PathBuf::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Context {
    /// Adds one field of the component's data.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }
}
