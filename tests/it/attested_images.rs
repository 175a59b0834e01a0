//! `kiln convert --provenance-key`: what is written is attested with what it was made of, and `kiln verify-attestation` judges it.

use std::fs;
use std::process::Command;

use kiln_tests::{Home, tool};
use serde_json::Value;

#[test]
fn what_convert_writes_is_attested_and_verified() {
    if !["openssl", "sha256sum"].iter().all(|name| tool(name)) {
        return;
    }
    let home = Home::new();
    let openssl = |arguments: &[&str]| {
        let made = Command::new("openssl").args(arguments).current_dir(home.work("")).status().unwrap();
        assert!(made.success(), "{arguments:?}");
    };
    for name in ["key", "other"] {
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", &format!("{name}.pem")]);
        openssl(&["pkey", "-in", &format!("{name}.pem"), "-pubout", "-out", &format!("{name}.pub")]);
    }
    let sum = |name: &str| {
        let ran = Command::new("sha256sum").arg(home.work(name)).output().unwrap();
        String::from_utf8(ran.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let disk: Vec<u8> = (0..1_u32 << 20).map(|at| (at % 251) as u8).collect();
    fs::write(home.work("disk.raw"), &disk).unwrap();
    home.kiln(["convert", "--provenance-key", "key.pem", "disk.raw", "disk.qcow2"]).expect(0);

    let attestation = "disk.qcow2.provenance.json";
    let envelope: Value = serde_json::from_slice(&fs::read(home.work(attestation)).unwrap()).unwrap();
    fs::write(home.work("payload"), envelope["payload"].as_str().unwrap()).unwrap();
    openssl(&["base64", "-d", "-A", "-in", "payload", "-out", "statement"]);
    let statement: Value = serde_json::from_slice(&fs::read(home.work("statement")).unwrap()).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(statement["subject"][0]["name"], "disk.qcow2");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], sum("disk.qcow2"));
    let material = &statement["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    assert!(material["name"].as_str().unwrap().ends_with("disk.raw"), "{material}");
    assert_eq!(material["digest"]["sha256"], sum("disk.raw"));

    let verify =
        |key: &str| home.kiln(["verify-attestation", "--verifier", key, "--artifact", "disk.qcow2", attestation]);
    let ran = verify("key.pub").expect(0);
    assert!(ran.stdout.contains("OK disk.qcow2 (SHA256)"), "{}", ran.stdout);
    assert!(verify("other.pub").expect(1).stderr.contains("no signature in it is of this key"));
    let whole = fs::read(home.work("disk.qcow2")).unwrap();
    fs::write(home.work("disk.qcow2"), [&whole[..], b"x"].concat()).unwrap();
    assert!(verify("key.pub").expect(1).stderr.contains("disk.qcow2 is not the file of the attestation"));

    // Nothing is written before it is known that it can be attested.
    let ran = home.kiln(["convert", "--provenance-key", "none.pem", "disk.raw", "again.qcow2"]).expect(1);
    assert!(ran.stderr.contains("none.pem") && !home.work("again.qcow2").exists(), "{}", ran.stderr);
    let ran = home.kiln(["convert", "--provenance-key", "awskms://alias/x", "disk.raw", "again.qcow2"]).expect(1);
    assert!(!home.work("again.qcow2").exists() && ran.stderr.contains("awskms"), "{}", ran.stderr);
}
