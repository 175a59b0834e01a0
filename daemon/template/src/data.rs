//! Owns what data sources ask of the world: [`DataSources`].

use std::collections::BTreeMap;

/// A request of `data "http"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
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

/// Fetches what data sources name.
pub trait DataSources: Send + Sync {
    /// Sends a request.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer with a 2xx status; the text says why.
    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, String>;
}

/// What is done about data sources that need the world.
#[derive(Clone, Copy)]
pub enum DataMode<'a> {
    /// Using one is an error.
    Refuse,
    /// Their values are not known: texts made of them read [`Generated::UNKNOWN`](crate::Generated::UNKNOWN). For
    /// validation without `-evaluate-datasources`.
    Unknown,
    /// They are fetched.
    Fetch(&'a dyn DataSources),
}
