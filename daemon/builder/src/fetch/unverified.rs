//! TLS with a server whose certificate nobody looks at: for `insecure_skip_tls_verify`, which is for tests of one's own service.

use std::sync::Arc;

use kiln_communicators::unverified::Anybody;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, Error};

/// The configuration of such connections.
pub(super) fn config() -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(Anybody::new(provider));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}
