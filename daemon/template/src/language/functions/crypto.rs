//! Owns hashes, passwords and identifiers.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::rsa::decrypt;
use super::table::{Answer, Call, Failure, Function, function, number, text};

/// Go's default cost.
const BCRYPT_DEFAULT_COST: u32 = 10;
/// The largest cost: each one more doubles the time, which is a quarter of a minute here and days at 31.
const BCRYPT_MAX_COST: u32 = 18;

pub(super) const FUNCTIONS: &[Function] = &[
    function("bcrypt", &[text("str")], bcrypt_hash).rest(number("cost")),
    function("md5", &[text("str")], hash::<Md5>),
    function("rsadecrypt", &[text("ciphertext"), text("privatekey")], decrypt),
    function("sha1", &[text("str")], hash::<Sha1>),
    function("sha256", &[text("str")], hash::<Sha256>),
    function("sha512", &[text("str")], hash::<Sha512>),
    function("uuidv4", &[], |_| Ok(uuid::Uuid::new_v4().to_string().into())),
    function("uuidv5", &[text("namespace"), text("name")], uuid_v5),
];

fn hash<D: Digest>(call: &Call<'_>) -> Answer {
    let digest = D::digest(call.text(0).as_bytes());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

fn bcrypt_hash(call: &Call<'_>) -> Answer {
    if call.arguments.len() > 2 {
        return Err(Failure::new("bcrypt() takes no more than two arguments"));
    }
    let cost = if call.arguments.len() == 2 { call.integer(1)? } else { i64::from(BCRYPT_DEFAULT_COST) };
    // As in Go: too small a cost means the default.
    let cost = if cost < 4 { BCRYPT_DEFAULT_COST } else { u32::try_from(cost).unwrap_or(u32::MAX) };
    if cost > 31 {
        return Err(Failure::at(1, format!("cost {cost} is outside the allowed range (4 to 31)")));
    }
    if cost > BCRYPT_MAX_COST {
        let message = format!(
            "cost {cost} would take too long: each one more doubles the time, and Kiln goes up to {BCRYPT_MAX_COST}"
        );
        return Err(Failure::at(1, message));
    }
    if !call.environment.budget.spend(8 << cost) {
        return Err(Failure::new("so many passwords would take too long; hash them outside of the template"));
    }
    if call.text(0).len() > 72 {
        return Err(Failure::at(0, "bcrypt: password length exceeds 72 bytes"));
    }
    let hashed = bcrypt::hash_with_result(call.text(0), cost)
        .map_err(|error| Failure::new(format!("error occurred generating password: {error}")))?;
    Ok(hashed.format_for_version(bcrypt::Version::TwoA).into())
}

fn uuid_v5(call: &Call<'_>) -> Answer {
    let namespace = match call.text(0) {
        "dns" => uuid::Uuid::NAMESPACE_DNS,
        "url" => uuid::Uuid::NAMESPACE_URL,
        "oid" => uuid::Uuid::NAMESPACE_OID,
        "x500" => uuid::Uuid::NAMESPACE_X500,
        other => other.parse().map_err(|_| Failure::at(0, format!("uuidv5() doesn't support namespace {other:?}")))?,
    };
    Ok(uuid::Uuid::new_v5(&namespace, call.text(1).as_bytes()).to_string().into())
}
