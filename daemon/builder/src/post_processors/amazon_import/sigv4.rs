//! Signature Version 4: who asks, and that nobody has changed what was asked.
//!
//! ```text
//! request ─► canonical request ─SHA-256─► string to sign ─HMAC by a key of the day, region and service─► Authorization
//! ```

use aws_lc_rs::hmac;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::credentials::Keys;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

const DATE: HeaderName = HeaderName::from_static("x-amz-date");

const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Where and when a request is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// As `20150830T123600Z`.
    pub(super) at: &'a str,
}

/// A request as it is signed. Its path has no characters that would have to be encoded, and it has no query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Host and port as the server is told them.
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    /// Lower-case names.
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    /// SHA-256 of the body, in hexadecimal.
    pub(super) body: &'a str,
}

/// The headers that a request needs beside its own.
pub(super) fn sign(keys: &Keys, scope: Scope<'_>, request: Request<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut added = vec![(DATE, HeaderValue::from_str(scope.at).ok()?)];
    if let Some(token) = &keys.token {
        let mut token = HeaderValue::from_str(token).ok()?;
        token.set_sensitive(true);
        added.push((TOKEN, token));
    }
    let mut signed: Vec<(&str, String)> = vec![("host", request.host.to_owned())];
    for (name, value) in request.headers.iter().chain(&added) {
        signed.push((name.as_str(), value.to_str().ok()?.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    signed.sort();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    drop(signed);
    let canonical = format!("{}\n{}\n\n{lines}\n{names}\n{}", request.method, request.path, request.body);
    let day = scope.at.get(..8)?;
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("{ALGORITHM}\n{}\n{place}\n{}", scope.at, hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for part in [day, scope.region, scope.service, "aws4_request"] {
        key = tag(&key, part.as_bytes());
    }
    let signature = hex(&tag(&key, to_sign.as_bytes()));
    let text = format!("{ALGORITHM} Credential={}/{place}, SignedHeaders={names}, Signature={signature}", keys.id);
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    added.push((AUTHORIZATION, value));
    Some(added)
}

fn tag(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use hyper::header::CONTENT_TYPE;

    use super::*;

    /// AWS's own examples ("aws4_testsuite"), of which these have neither a query nor characters to encode.
    #[test]
    fn signatures_are_those_of_awss_own_examples() {
        let keys = Keys {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
        };
        let scope = Scope { region: "us-east-1", service: "service", at: "20150830T123600Z" };
        let form = [(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
        for (method, headers, body, expected) in [
            ("GET", &[][..], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", &[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            ("POST", &form, "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        ] {
            let body = hex(&Sha256::digest(body));
            let request = Request { method, host: "example.amazonaws.com", path: "/", headers, body: &body };
            let added = sign(&keys, scope, request).unwrap();
            let (name, value) = added.last().unwrap();
            assert_eq!(name, AUTHORIZATION);
            let text = value.to_str().unwrap();
            assert!(text.ends_with(&format!("Signature={expected}")), "{method}: {text}");
            assert!(text.contains("Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "), "{text}");
            assert!(value.is_sensitive());
        }
    }

    #[test]
    fn a_token_is_signed_and_not_shown() {
        let keys = Keys { id: "A".to_owned(), secret: "B".to_owned(), token: Some("t0ken".to_owned()) };
        let scope = Scope { region: "r", service: "ebs", at: "20150830T123600Z" };
        let request = Request { method: "PUT", host: "h", path: "/x", headers: &[], body: "" };
        let added = sign(&keys, scope, request).unwrap();
        let token = added.iter().find(|(name, _)| *name == TOKEN).unwrap();
        assert!(token.1.is_sensitive());
        let authorization = added.last().unwrap().1.to_str().unwrap();
        assert!(authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"), "{authorization}");
    }
}
