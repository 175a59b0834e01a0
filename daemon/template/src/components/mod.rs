//! The components of builds: how their options are described, kept as the template has them, and decoded; and the builds they
//! make up.

pub(crate) mod component;
pub(crate) mod config;
pub(crate) mod decode;
pub(crate) mod evaluated;
pub(crate) mod foreign;
pub(crate) mod generated;
pub(crate) mod options;
pub(crate) mod plugins;
pub(crate) mod schema;
pub(crate) mod version;
