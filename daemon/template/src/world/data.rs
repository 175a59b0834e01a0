//! Owns what data sources ask of the world: [`DataSources`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A request of `data "http"`, or to a store of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Who asks, for people: `data.http.x`.
    pub asker: String,
    /// Who is asked, for people: the URL, or the server alone, without the template's secrets.
    pub asked: String,
    /// Where to.
    pub url: String,
    /// `GET`, `HEAD`, `POST`, `PUT`, `DELETE`, `OPTIONS` or `PATCH`.
    pub method: String,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
    /// The body; nothing sends none.
    pub body: Option<String>,
}

/// An answer to [`HttpRequest`] whose status was a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The body; it must be text.
    pub body: Vec<u8>,
    /// Headers; a name may occur several times.
    pub headers: Vec<(String, String)>,
}

/// An answer of `data "kiln-image"`: what an earlier build on this machine has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownImage {
    /// Its file, absolute.
    pub path: String,
    /// `qcow2`, `raw`, …
    pub format: String,
    /// `sha256:…` of the file.
    pub checksum: String,
    /// The file's length in bytes.
    pub size: u64,
    /// The build that made it: `qemu.web`.
    pub build: String,
    /// The run that it was made in.
    pub run_uuid: String,
    /// When, as RFC 3339 has it.
    pub created: String,
}

/// Fetches what data sources name.
pub trait DataSources: Send + Sync {
    /// Sends a request.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer with a 2xx status; the text says why.
    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, String>;

    /// Finds an image of an earlier build.
    ///
    /// # Errors
    /// When there is none of this name in this channel; the text says what there is.
    fn image(&self, name: &str, channel: &str) -> Result<KnownImage, String>;
}

/// What is done about data sources, and functions such as `vault`, that need the world.
#[derive(Clone, Default)]
pub enum DataMode {
    /// Using one is an error.
    #[default]
    Refuse,
    /// Their values are not known: texts made of them read [`Generated::UNKNOWN`](crate::Generated::UNKNOWN). For
    /// validation without `-evaluate-datasources`.
    Unknown,
    /// They are fetched.
    Fetch(Arc<dyn DataSources>),
}

/// What is done about variables without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unset {
    /// They are errors: nothing can be built.
    Refused,
    /// They are unknown, and that is all: a console answers what does not need them.
    Unknown,
}

impl fmt::Debug for DataMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "Refuse",
            Self::Unknown => "Unknown",
            Self::Fetch(_) => "Fetch",
        })
    }
}

impl PartialEq for DataMode {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Text that stands for what is not known before the world is asked, or a build runs.
pub(crate) const UNKNOWN: &str = "<unknown>";
