//! Provenance, with keys that OpenSSL makes and signatures that OpenSSL judges.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_builder::attestation::{Expectations, VerifyingKey, verify};
use kiln_builder::{Sweep, sweep};
use serde_json::Value as Json;

use super::post_processors::template;
use super::tools;
use super::world::World;

/// Kinds of keys: what OpenSSL makes them with, and how it verifies what they sign.
const KEYS: [(&str, &[&str], &str); 6] = [
    ("p256", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "dgst"),
    ("p521", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"], "dgst"),
    ("sec1", &["ecparam", "-name", "prime256v1", "-genkey", "-noout"], "dgst"),
    ("ed25519", &["genpkey", "-algorithm", "ED25519"], "pkeyutl"),
    ("rsa", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "dgst"),
    // 2048 bits, unless it is told otherwise.
    ("pkcs1", &["genrsa", "-traditional"], "dgst"),
];

fn openssl(arguments: &[&str], in_directory: &Path) -> bool {
    let ran = Command::new("openssl").args(arguments).current_dir(in_directory).output().unwrap();
    ran.status.success()
}

fn make_key(world: &World, name: &str) {
    let (_, arguments, _) = KEYS.iter().find(|key| key.0 == name).unwrap();
    let path = format!("{name}.pem");
    assert!(openssl(&[*arguments, &["-out", &path]].concat(), &world.path("")), "{name}");
    assert!(openssl(&["pkey", "-in", &path, "-pubout", "-out", &format!("{name}.pub")], &world.path("")), "{name}");
}

fn provenance(options: &str) -> String {
    format!("post-processor \"provenance\" {{\n{options}\n}}\n")
}

fn read(world: &World, name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(world.path("files").join(name)).unwrap()).unwrap()
}

async fn build(world: &World, options: &str) -> i32 {
    i32::from(world.run(&template(world, &provenance(options))).await.exit_code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_kind_of_key_signs_is_verified_by_openssl_and_by_us() {
    if !tools::has("openssl") {
        return;
    }
    let world = World::new();
    for (name, _, way) in KEYS {
        make_key(&world, name);
        let root = world.path("").display().to_string();
        let options = format!(
            "signing_mode = \"key\"\nsigner = \"{root}{name}.pem\"\nverifier = \"{root}{name}.pub\"\noutput_dir = \"{root}files\""
        );
        assert_eq!(build(&world, &options).await, 0, "{name}: {}", world.text());
        let envelope = read(&world, "note.txt.provenance.json");
        let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let kind = envelope["payloadType"].as_str().unwrap();
        let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
        signed.extend(&payload);
        std::fs::write(world.path("signed"), signed).unwrap();
        let signature = STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
        std::fs::write(world.path("sig"), signature).unwrap();
        let key = format!("{name}.pub");
        let verified = |file: &str| match way {
            "dgst" => openssl(&["dgst", "-sha256", "-verify", &key, "-signature", "sig", file], &world.path("")),
            _ => {
                let arguments =
                    ["pkeyutl", "-verify", "-pubin", "-inkey", &key, "-rawin", "-in", file, "-sigfile", "sig"];
                openssl(&arguments, &world.path(""))
            }
        };
        assert!(verified("signed"), "{name}");
        assert!(!verified("seed"), "{name}: the judge finds a wrong signature");
        let attestation = world.path("files/note.txt.provenance.json");
        let ours = |key: &str| {
            let key = VerifyingKey::load(&world.path(key)).unwrap();
            verify(&attestation, &key, &Expectations::default(), &|_, _| ControlFlow::Continue(()))
        };
        let subjects = ours(&key).unwrap().subjects;
        assert_eq!(subjects[0].file.as_deref(), Some(&*world.path("files/note.txt")), "{name}");
        // Packer names a key by the text that OpenSSL writes of it.
        let text = std::fs::read(world.path(&key)).unwrap();
        let keyid: String =
            <sha2::Sha256 as sha2::Digest>::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(envelope["signatures"][0]["keyid"], keyid, "{name}");
        if name != "p256" {
            assert!(ours("p256.pub").unwrap_err().to_string().contains("no signature in it is of this key"), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_says_what_the_options_say_and_no_secret() {
    let world = World::new();
    let rest = "variable \"token\" {\n sensitive = true\n default = \"hunter2-hunter2\"\n}\n";
    std::fs::write(world.path("script.sh"), "true").unwrap();
    let root = world.path("").display().to_string();
    let options = format!(
        "build_type = \"https://example.com/t\"\ntemplate = \"web.pkr.hcl\"\nonly_builds = [\"file.note\"]\n\
         source_uri = \"git+https://example.com/web\"\noutput_dir = \"{root}files/new\"\n\
         user_variables = {{ region = \"north\", token = var.token, pin = \"1234\" }}\npacker_sensitive_variables = [\"pin\"]"
    );
    let script = format!(
        "provisioner \"shell-local\" {{\n script = \"{root}script.sh\"\n execute_command = [\"/bin/sh\", \"{{{{.Script}}}}\"]\n}}\n"
    );
    let text = rest.to_owned() + &template(&world, &(script + &provenance(&options)));
    let outcome = world.run(&text).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("files"), ["new", "note.txt"]);
    let written = std::fs::read_to_string(world.path("files/new/note.txt.provenance.json")).unwrap();
    for secret in ["hunter2", "1234"] {
        assert!(!written.contains(secret), "{written}");
    }
    let statement: Json = serde_json::from_str(&written).unwrap();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(statement["subject"], serde_json::json!([{"name": "note.txt", "digest": {"sha256": abc}}]));
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["buildType"], "https://example.com/t");
    let parameters = &definition["externalParameters"];
    assert_eq!(parameters["template"], "web.pkr.hcl");
    assert_eq!(parameters["onlyBuilds"], serde_json::json!(["file.note"]));
    assert_eq!(parameters["userVariables"]["region"], "north");
    assert_eq!(parameters["userVariables"]["pin"], "[sensitive value redacted]");
    assert_eq!(definition["internalParameters"]["packerBuilderType"], "file");
    let materials = definition["resolvedDependencies"].as_array().unwrap();
    assert_eq!(materials[0]["uri"], "git+https://example.com/web");
    let digest = |ending: &str| {
        let found =
            materials.iter().find(|material| material["name"].as_str().is_some_and(|name| name.ends_with(ending)));
        found.unwrap_or_else(|| panic!("{ending}: {materials:?}"))["digest"]["sha256"].as_str().unwrap().to_owned()
    };
    let sha = |text: &[u8]| -> String {
        <sha2::Sha256 as sha2::Digest>::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(digest("web.pkr.hcl"), sha(text.as_bytes()));
    assert_eq!(digest("script.sh"), sha(b"true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_installer_is_named_with_its_checksum() {
    let world = World::new();
    let options = format!("output_dir = \"{}attested\"", world.path("").display());
    let outcome = world.run(&world.template("", &provenance(&options))).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let name = &world.files("attested")[0];
    let statement: Json = serde_json::from_slice(&std::fs::read(world.path("attested").join(name)).unwrap()).unwrap();
    let materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    for (ending, is_digested) in [("installer.iso", true), ("seed", true)] {
        let of_name = |material: &&Json| material["name"].as_str().is_some_and(|name| name.ends_with(ending));
        let found = materials.iter().find(of_name).unwrap_or_else(|| panic!("{ending}: {materials:?}"));
        assert_eq!(found["digest"]["sha256"].as_str().is_some_and(|digest| digest.len() == 64), is_digested, "{found}");
    }
    assert!(!statement.to_string().contains("a-long-password"), "{statement}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sbom_is_attested_as_it_is() {
    let root_of = |world: &World| world.path("").display().to_string();
    for (format, kind, text, ending) in [
        ("cyclonedx", "https://cyclonedx.org/bom", "{\"bomFormat\":\"CycloneDX\",\"components\":[]}", "cdx.json"),
        ("spdx", "https://spdx.dev/Document", "{\"spdxVersion\":\"SPDX-2.3\"}", "spdx.json"),
    ] {
        let world = World::new();
        let root = root_of(&world);
        std::fs::create_dir(world.path("bills")).unwrap();
        std::fs::write(world.path("bills").join(format!("note.{ending}")), text).unwrap();
        let options = format!("sbom = true\nsbom_format = \"{format}\"\nsbom_scan_path = \"{root}bills\"");
        assert_eq!(build(&world, &options).await, 0, "{}", world.text());
        let raw = format!("note.txt.sbom.{ending}");
        let mut left = ["note.txt.provenance.json", "note.txt.sbom.att.json", &raw, "note.txt"];
        left.sort_unstable();
        assert_eq!(world.files("files"), left);
        let attested = read(&world, "note.txt.sbom.att.json");
        assert_eq!((&attested["predicateType"], &attested["predicate"]), (&kind.into(), &read(&world, &raw)));
        assert_eq!(attested["subject"], read(&world, "note.txt.provenance.json")["subject"]);
    }
    let world = World::new();
    std::fs::write(world.path("bill.json"), "{}").unwrap();
    let options = format!("sbom = true\nsbom_scan_path = \"{}bill.json\"", root_of(&world));
    assert_eq!(build(&world, &options).await, 1);
    assert!(world.text().contains("it is no JSON document of CycloneDX"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_signed_is_refused_before_anything_is_built() {
    for (options, words) in [
        ("signing_mode = \"kms\"\nsigner = \"awskms://alias/x\"", "a key management service"),
        ("signing_mode = \"keyless\"\nkeyless_identity = \"x\"\nkeyless_oidc_issuer = \"y\"", "Sigstore"),
        ("signing_mode = \"wax\"", "must be one of none, key, kms, keyless"),
        ("signing_mode = \"key\"", "requires signer or key"),
        ("signing_mode = \"key\"\nsigner = \"a\"\nkey = \"b\"", "signer and key must match"),
        ("signing_mode = \"key\"\nsigner = \"/nonexistent/key.pem\"", "cannot read the key /nonexistent/key.pem"),
        ("sbom = true", "sbom_scan_path does not say where"),
        ("sbom_format = \"list\"", "must be one of cyclonedx, spdx"),
        ("sbom_scope = \"some\"", "must be one of squashed, all-layers"),
    ] {
        let world = World::new();
        assert_eq!(build(&world, options).await, 1, "{options}");
        assert!(world.text().contains(words), "{options}: {}", world.text());
        assert_eq!(world.files("files"), Vec::<String>::new(), "{options}");
    }
    let world = World::new();
    assert_eq!(build(&world, "provenance = false").await, 0, "{}", world.text());
    assert_eq!(world.files("files"), ["note.txt"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_of_another_key_leaves_no_attestation() {
    if !tools::has("openssl") {
        return;
    }
    let world = World::new();
    for name in ["p256", "ed25519"] {
        make_key(&world, name);
    }
    let root = world.path("").display().to_string();
    let options = format!("signing_mode = \"key\"\nkey = \"{root}p256.pem\"\nverifier = \"{root}ed25519.pub\"");
    assert_eq!(build(&world, &options).await, 1);
    assert!(world.text().contains("`verifier` does not verify what `signer` signs"), "{}", world.text());
    assert_eq!(world.files("files"), ["note.txt"]);
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_environment_the_declared_variables_are_said_and_no_other() {
    let world = World::new();
    let declared = "variable \"region\" {}\nvariable \"web\" {\n sensitive = true\n}\n";
    let mut request = world.check_request(&(declared.to_owned() + &template(&world, &provenance(""))));
    let given = [("region", "north"), ("web", "note"), ("of_another_template", "a-token-of-somebody")];
    request.environment = given.map(|(name, value)| (format!("PKR_VAR_{name}"), value.to_owned())).into();
    assert_eq!(world.run_request(request).await.exit_code, 0, "{}", world.text());
    let statement = read(&world, "note.txt.provenance.json");
    let parameters = &statement["predicate"]["buildDefinition"]["externalParameters"];
    assert_eq!(parameters["userVariables"], serde_json::json!({"region": "north"}));
    // A short secret is a word of names, too: the file is called as it is called.
    assert_eq!(statement["subject"][0]["name"], "note.txt");
    let world = World::new();
    let declared = "variable \"web\" {\n sensitive = true\n default = \"note.txt\"\n}\n";
    let outcome = world.run(&(declared.to_owned() + &template(&world, &provenance("")))).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(world.text().contains("the name of what was built holds a secret"), "{}", world.text());
    assert_eq!(world.files("files"), ["note.txt"], "what was built stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_that_is_another_by_now_is_named_without_a_digest() {
    let world = World::new();
    let root = world.path("").display().to_string();
    std::fs::write(world.path("kept.sh"), "true").unwrap();
    std::fs::write(world.path("script.sh"), "echo true > \"$0\"; : what replaces me is shorter").unwrap();
    let script = |name: &str| {
        format!(
            "provisioner \"shell-local\" {{\n script = \"{root}{name}\"\n execute_command = [\"/bin/sh\", \"{{{{.Script}}}}\"]\n}}\n"
        )
    };
    let rest = script("script.sh") + &script("kept.sh") + &provenance("");
    assert_eq!(world.run(&template(&world, &rest)).await.exit_code, 0, "{}", world.text());
    let statement = read(&world, "note.txt.provenance.json");
    let materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let of = |ending: &str| {
        let is = |material: &&Json| material["name"].as_str().is_some_and(|name| name.ends_with(ending));
        materials.iter().find(is).unwrap_or_else(|| panic!("{ending}: {materials:?}"))
    };
    assert_eq!(of("/script.sh").get("digest"), None);
    assert!(of("/kept.sh").get("digest").is_some());
    assert!(world.text().contains("script.sh was changed while the build ran"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_one_name_are_subjects_of_their_own() {
    let world = World::new();
    let root = world.path("").display().to_string();
    for name in ["one", "two"] {
        std::fs::create_dir(world.path(name)).unwrap();
        std::fs::write(world.path(name).join("a.img"), name).unwrap();
    }
    let rest = format!(
        "post-processors {{\n post-processor \"artifice\" {{\n files = [\"{root}one/a.img\", \"{root}two/a.img\"]\n }}\n \
         post-processor \"provenance\" {{\n output_dir = \"{root}\"\n }}\n}}\n"
    );
    assert_eq!(world.run(&template(&world, &rest)).await.exit_code, 0, "{}", world.text());
    let written = std::fs::read(world.path("note.a.img.provenance.json")).unwrap();
    let statement: Json = serde_json::from_slice(&written).unwrap();
    let names: Vec<_> = statement["subject"].as_array().unwrap().iter().map(|subject| &subject["name"]).collect();
    assert_eq!(names, ["one/a.img", "two/a.img"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_cannot_be_attested_is_told_before_the_boot() {
    for (name, told) in [("web", false), ("a-long-password", true)] {
        let world = World::new();
        let template = world.template("", &provenance("signing_mode = \"none\""));
        let template = template.replace("vm_name          = \"web\"", &format!("vm_name = \"{name}\""));
        assert_eq!(world.run(&template).await.exit_code, u8::from(told), "{name}: {}", world.text());
        let text = world.text();
        let warned = text.find("vm_name holds a secret");
        assert_eq!(warned.is_some(), told, "{name}: {text}");
        let refused = text.find("an attestation says it");
        assert_eq!(refused.is_some(), told, "{name}: {text}");
        assert_eq!(world.hypervisor.specs().len(), 1, "{name}: what is attested may have another name");
        assert!(warned.zip(refused).is_none_or(|(warned, refused)| warned < refused), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_names_of_a_files_post_processors_are_told_before_they_are_made() {
    let declared = "variable \"token\" {\n sensitive = true\n default = \"hunter2-hunter2\"\n}\n";
    let compress = |name: &str| format!("post-processor \"compress\" {{\n output = \"ROOT/files/{name}.gz\"\n}}\n");
    let chain = |first: &str, options: &str| format!("post-processors {{\n{first}{}}}\n", provenance(options));
    let of_compress = "output of compress holds a secret";
    for (rest, words) in [
        (chain(&compress("hunter2-hunter2"), ""), Some(of_compress)),
        (chain("", "build_type = \"https://x/hunter2-hunter2\""), Some("build_type of provenance holds a secret")),
        (chain(&compress("note"), ""), None),
        // Nobody attests it.
        (compress("hunter2-hunter2"), None),
    ] {
        let world = World::new();
        let outcome = world.run(&(declared.to_owned() + &template(&world, &rest))).await;
        let text = world.text();
        assert_eq!(i32::from(outcome.exit_code), i32::from(words.is_some()), "{rest}: {text}");
        assert_eq!(text.matches("warning: ").count(), usize::from(words.is_some()), "{rest}: {text}");
        if let Some(words) = words {
            let (warned, refused) = (text.find(words), text.find("an attestation says it"));
            assert!(warned.is_some() && warned < refused, "{rest}: {text}");
        }
    }
    let world = World::new();
    let rest = template(&world, &provenance("")).replace("note.txt", "hunter2-hunter2.txt");
    assert_eq!(world.run(&(declared.to_owned() + &rest)).await.exit_code, 1);
    assert!(world.text().contains("target holds a secret"), "{}", world.text());
}
