//! What is said over HTTP: envelopes of SOAP, written and read.

pub(crate) mod answer;
pub(crate) mod request;
pub(crate) mod xml;
