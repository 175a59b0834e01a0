//! Owns what is read from Consul and Vault, over HTTP as their own clients do it. Where to is in the environment.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::data::{DataSources, HttpRequest};

/// Reads a key of Consul's store (`CONSUL_HTTP_ADDR`, `CONSUL_HTTP_SSL`, `CONSUL_HTTP_TOKEN`).
pub(crate) fn consul_key(
    sources: &dyn DataSources,
    environment: &BTreeMap<String, String>,
    key: &str,
) -> Result<String, String> {
    let address = setting(environment, "CONSUL_HTTP_ADDR").unwrap_or("127.0.0.1:8500");
    let secure =
        setting(environment, "CONSUL_HTTP_SSL").is_some_and(|flag| matches!(flag, "1" | "t" | "true" | "TRUE"));
    let mut headers = BTreeMap::new();
    if let Some(token) = setting(environment, "CONSUL_HTTP_TOKEN") {
        headers.insert("X-Consul-Token".to_owned(), token.to_owned());
    }
    let server = base(address, secure);
    let path = format!("/v1/kv/{}", escape(key));
    let answer = read(sources, "consul_key", server, &path, headers)
        .map_err(|reason| format!("Consul does not give the key {key:?}: {reason}"))?;
    let entry = answer.get(0).ok_or_else(|| format!("Consul has no key {key:?}"))?;
    // A key without a value has null here.
    let value = entry.get("Value").and_then(Json::as_str).unwrap_or_default();
    let bytes = STANDARD.decode(value).map_err(|error| format!("Consul's answer for {key:?} is damaged: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("the value of Consul's key {key:?} is not text"))
}

/// Reads a field of a secret of Vault, from a store of version 1 or 2 (`VAULT_ADDR`, `VAULT_TOKEN`, `VAULT_NAMESPACE`).
pub(crate) fn vault(
    sources: &dyn DataSources,
    environment: &BTreeMap<String, String>,
    path: &str,
    key: &str,
) -> Result<String, String> {
    let token = setting(environment, "VAULT_TOKEN")
        .ok_or("the environment variable VAULT_TOKEN must be set to read secrets from Vault")?;
    let address = setting(environment, "VAULT_ADDR").unwrap_or("https://127.0.0.1:8200");
    let mut headers: BTreeMap<String, String> = [("X-Vault-Token".to_owned(), token.to_owned())].into();
    if let Some(namespace) = setting(environment, "VAULT_NAMESPACE") {
        headers.insert("X-Vault-Namespace".into(), namespace.to_owned());
    }
    let place = format!("/v1/{}", escape(path.trim_start_matches('/')));
    let answer = read(sources, "vault", base(address, true), &place, headers)
        .map_err(|reason| format!("Vault does not give the secret {path:?}: {reason}"))?;
    let data = answer.get("data").filter(|data| data.is_object());
    let data = data.ok_or_else(|| format!("Vault has no secret at the path {path:?}"))?;
    // Version 2 has the secret's own data one level deeper, beside what it knows about the secret.
    let fields = data.get("data").filter(|inner| inner.is_object()).unwrap_or(data);
    match fields.get(key) {
        Some(Json::String(text)) => Ok(text.clone()),
        Some(Json::Null) | None => {
            let known = fields.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
            let known = known.filter(|known| !known.is_empty()).unwrap_or_else(|| "none".into());
            Err(format!("Vault's secret {path:?} has no field {key:?}; its fields: {known}"))
        }
        Some(other) => Ok(other.to_string()),
    }
}

fn setting<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// Returns an address with its scheme and without a slash at the end.
fn base(address: &str, secure: bool) -> String {
    let address = address.trim_end_matches('/');
    if address.contains("://") {
        return address.to_owned();
    }
    format!("{}://{address}", if secure { "https" } else { "http" })
}

/// Gets what is at a path of a server, for a function of the template's language.
fn read(
    sources: &dyn DataSources,
    function: &str,
    server: String,
    path: &str,
    headers: BTreeMap<String, String>,
) -> Result<Json, String> {
    let url = format!("{server}{path}");
    // A path can be made of a sensitive variable, so people are told the server alone.
    let asker = format!("{function}()");
    let request = HttpRequest { asker, asked: server, url, method: "GET".into(), headers, body: None };
    let answer = sources.http(&request)?;
    serde_json::from_slice(&answer.body).map_err(|error| format!("the answer of {} is not JSON: {error}", request.url))
}

/// Escapes what cannot stand in a path of a URL.
fn escape(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::world::data::{HttpResponse, KnownImage};

    /// Stands in for a server: gives one answer, and keeps what it was asked.
    struct Server(&'static str, Mutex<Vec<HttpRequest>>);

    impl DataSources for Server {
        fn http(&self, request: &HttpRequest) -> Result<HttpResponse, String> {
            self.1.lock().unwrap().push(request.clone());
            Ok(HttpResponse { body: self.0.as_bytes().to_vec(), headers: Vec::new() })
        }

        fn image(&self, _name: &str, _channel: &str) -> Result<KnownImage, String> {
            Err("a store of secrets has no images".to_owned())
        }
    }

    fn environment(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// The answer is what Consul's documentation of `GET /v1/kv/:key` shows.
    #[test]
    fn a_key_of_consul() {
        let server = Server(
            r#"[{"CreateIndex": 100, "LockIndex": 0, "Key": "a b", "Flags": 0, "Value": "dGVzdA=="}]"#,
            Mutex::default(),
        );
        let settings = environment(&[("CONSUL_HTTP_ADDR", "consul:8500"), ("CONSUL_HTTP_TOKEN", "t")]);
        assert_eq!(consul_key(&server, &settings, "a b").unwrap(), "test");
        let asked = server.1.lock().unwrap().pop().unwrap();
        assert_eq!(
            (asked.url.as_str(), asked.headers["X-Consul-Token"].as_str()),
            ("http://consul:8500/v1/kv/a%20b", "t")
        );
        assert_eq!((&*asked.asker, &*asked.asked), ("consul_key()", "http://consul:8500"));
    }

    /// The answers are what Vault's documentation of both versions of its store shows.
    #[test]
    fn secrets_of_vault() {
        let old = Server(r#"{"auth": null, "data": {"foo": "bar", "ttl": "1h"}, "lease_id": ""}"#, Mutex::default());
        let new = Server(
            r#"{"data": {"data": {"foo": "bar"}, "metadata": {"version": 2, "destroyed": false}}}"#,
            Mutex::default(),
        );
        let settings = environment(&[("VAULT_ADDR", "http://v:8200/"), ("VAULT_TOKEN", "t"), ("VAULT_NAMESPACE", "n")]);
        for server in [&old, &new] {
            assert_eq!(vault(server, &settings, "secret/data/app", "foo").unwrap(), "bar");
            let asked = server.1.lock().unwrap().pop().unwrap();
            assert_eq!(asked.url, "http://v:8200/v1/secret/data/app");
            assert_eq!((&*asked.asker, &*asked.asked), ("vault()", "http://v:8200"));
            assert_eq!((&*asked.headers["X-Vault-Token"], &*asked.headers["X-Vault-Namespace"]), ("t", "n"));
        }
        let missing = vault(&new, &settings, "secret/data/app", "fo").unwrap_err();
        assert_eq!(missing, "Vault's secret \"secret/data/app\" has no field \"fo\"; its fields: foo");
        let refused = vault(&new, &BTreeMap::new(), "a", "b").unwrap_err();
        assert!(refused.contains("VAULT_TOKEN"), "{refused}");
    }
}
