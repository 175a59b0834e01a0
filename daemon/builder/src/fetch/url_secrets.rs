//! The secrets that a URL may have in it: a login, a token, the signature of a link that lets everybody in.

use super::percent::decoded;

/// Stands for what is not shown; as Go writes it.
const HIDDEN: &str = "xxxxx";

/// Parts of the names of parameters that let their owner in, such as `X-Amz-Signature`, `access_token` and Azure's `sig`.
const SECRET_NAMES: [&str; 11] =
    ["token", "secret", "passw", "pwd", "sig", "auth", "credential", "key", "session", "policy", "jwt"];

/// Parameters of the downloader itself, which are no secrets whatever they look like.
const PUBLIC_NAMES: [&str; 3] = ["checksum", "archive", "filename"];

/// From this length on a text of letters and digits without words in it is taken for a secret.
const RANDOM_LENGTH: usize = 20;

/// Returns a URL as it may be shown: without password, token and signature. What is no URL stays as it is.
pub(crate) fn shown(text: &str) -> String {
    let Some(parts) = Parts::of(text) else { return text.to_owned() };
    let mut result = format!("{}://", parts.scheme);
    if let Some(login) = parts.login {
        let user = login.split(':').next().unwrap_or_default();
        let is_named = login.contains(':') && !is_random(user);
        result.push_str(&if is_named { format!("{user}:{HIDDEN}@") } else { format!("{HIDDEN}@") });
    }
    result.push_str(parts.before_query);
    for (index, parameter) in parts.parameters().enumerate() {
        result.push(if index == 0 { '?' } else { '&' });
        match parameter {
            (name, Some(value)) if is_secret(name, value) => result.push_str(&format!("{name}={HIDDEN}")),
            (name, Some(value)) => result.push_str(&format!("{name}={value}")),
            (name, None) if is_random(name) => result.push_str(HIDDEN),
            (name, None) => result.push_str(name),
        }
    }
    if !parts.fragment.is_empty() {
        result.push_str(&if parts.fragment_is_secret() {
            format!("#{HIDDEN}")
        } else {
            format!("#{}", parts.fragment)
        });
    }
    result
}

/// Returns what `shown` hides, as it stands in the URL and decoded.
pub(crate) fn secrets_in(text: &str) -> Vec<String> {
    let Some(parts) = Parts::of(text) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(login) = parts.login {
        match login.split_once(':') {
            Some((user, password)) => {
                found.push(password);
                found.extend(Some(user).filter(|user| is_random(user)));
            }
            None => found.push(login),
        }
    }
    found.extend(parts.parameters().filter_map(|parameter| match parameter {
        (name, Some(value)) => is_secret(name, value).then_some(value),
        (name, None) => is_random(name).then_some(name),
    }));
    found.extend(Some(parts.fragment).filter(|_| parts.fragment_is_secret()));
    let mut secrets: Vec<String> = found.iter().flat_map(|secret| [(*secret).to_owned(), decoded(secret)]).collect();
    secrets.dedup();
    secrets
}

/// The parts of a URL, as they stand there.
struct Parts<'a> {
    scheme: &'a str,
    login: Option<&'a str>,
    /// Host and path.
    before_query: &'a str,
    query: Option<&'a str>,
    /// Without its `#`; no server ever sees it.
    fragment: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let authority = &place[..place.find('/').unwrap_or(place.len())];
        let login = authority.rsplit_once('@').map(|(login, _)| login);
        let before_query = login.map_or(place, |login| &place[login.len() + 1..]);
        Some(Self { scheme, login, before_query, query, fragment })
    }

    fn parameters(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.query.into_iter().flat_map(|query| query.split('&')).map(|parameter| match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        })
    }
}

impl Parts<'_> {
    /// Whether it is more than the name of a place: it has a value, or looks made by a machine.
    fn fragment_is_secret(&self) -> bool {
        self.fragment.contains('=') || is_random(self.fragment)
    }
}

fn is_secret(name: &str, value: &str) -> bool {
    let name = decoded(name).to_ascii_lowercase();
    !value.is_empty()
        && !PUBLIC_NAMES.contains(&name.as_str())
        && (SECRET_NAMES.iter().any(|part| name.contains(part)) || is_random(value))
}

/// Whether a text looks made by a machine: long, of letters and digits, with nothing between them that words have.
fn is_random(text: &str) -> bool {
    let text = decoded(text);
    let has = |kind: fn(&u8) -> bool| text.as_bytes().iter().any(kind);
    text.len() >= RANDOM_LENGTH
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_its_owner_in_is_hidden() {
        for (url, expected, secrets) in [
            ("https://me:secret@host/x", "https://me:xxxxx@host/x", &["secret"][..]),
            ("https://ghp_0123456789abcdef@host/x", "https://xxxxx@host/x", &["ghp_0123456789abcdef"]),
            ("https://word@host/x", "https://xxxxx@host/x", &["word"]),
            ("https://ghp_0123456789abcdef:x@host/", "https://xxxxx@host/", &["x", "ghp_0123456789abcdef"]),
            ("https://h/x.iso?token=abc&v=12", "https://h/x.iso?token=xxxxx&v=12", &["abc"]),
            ("https://h?sig=a%2Bb#part", "https://h?sig=xxxxx#part", &["a%2Bb", "a+b"]),
            (
                "https://b.s3/x?X-Amz-Date=20301231T000000Z&X-Amz-Credential=AKIA%2F1&X-Amz-Signature=00ff",
                "https://b.s3/x?X-Amz-Date=20301231T000000Z&X-Amz-Credential=xxxxx&X-Amz-Signature=xxxxx",
                &["AKIA%2F1", "AKIA/1", "00ff"],
            ),
            ("http://h/x?Access_Token=1&q=", "http://h/x?Access_Token=xxxxx&q=", &["1"]),
            ("http://h/x?8f14e45fceea167a5a36dedd4bea2543", "http://h/x?xxxxx", &["8f14e45fceea167a5a36dedd4bea2543"]),
            ("http://h/x#access_token=abc", "http://h/x#xxxxx", &["access_token=abc"]),
            ("http://h/x?t%6Fken=1", "http://h/x?t%6Fken=xxxxx", &["1"]),
        ] {
            assert_eq!(
                (shown(url).as_str(), secrets_in(url)),
                (expected, secrets.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn everything_else_is_shown() {
        for url in [
            "https://h/debian-12.5.0-amd64-netinst.iso",
            "https://h/8f14e45fceea167a5a36dedd4bea2543/x.iso?version=12&name=a-b",
            "https://h/x.iso?checksum=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "https://h/x?a&b=1&&",
            "https://h/x@y:z",
            "/a/what?token=1.iso",
            "",
        ] {
            assert_eq!((shown(url).as_str(), secrets_in(url)), (url, Vec::new()));
        }
    }
}
