//! The documents: CycloneDX 1.5 and SPDX 2.3, as JSON.

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::packages::Inventory;

/// What SPDX says of what nobody has looked into.
const UNKNOWN: &str = "NOASSERTION";

/// A CycloneDX document: equal packages give equal bytes.
pub(super) fn cyclonedx(name: &str, inventory: &Inventory) -> String {
    let components: Vec<Json> = inventory
        .packages
        .iter()
        .map(|package| {
            let url = inventory.url(package);
            json!({ "type": "library", "bom-ref": url, "name": package.name, "version": package.version, "purl": url })
        })
        .collect();
    let mut system = json!({ "type": "operating-system", "name": inventory.system });
    if !inventory.release.is_empty() {
        system["version"] = json!(inventory.release);
    }
    written(&json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", identity(name, inventory)),
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": "kiln", "version": env!("CARGO_PKG_VERSION") }] },
            "component": { "type": "container", "bom-ref": "image", "name": name, "components": [system] },
        },
        "components": components,
    }))
}

/// An SPDX document, made at a certain time, which it has to tell.
pub(super) fn spdx(name: &str, inventory: &Inventory, made: jiff::Timestamp) -> String {
    const SYSTEM: &str = "SPDXRef-OperatingSystem";
    let described = |id: &str, name: &str, version: &str, purpose: &str| {
        json!({
            "SPDXID": id, "name": name, "versionInfo": version, "downloadLocation": UNKNOWN, "filesAnalyzed": false,
            "licenseConcluded": UNKNOWN, "licenseDeclared": UNKNOWN, "copyrightText": UNKNOWN, "supplier": UNKNOWN,
            "primaryPackagePurpose": purpose,
        })
    };
    let mut packages = vec![described(SYSTEM, &inventory.system, &inventory.release, "OPERATING-SYSTEM")];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", SYSTEM)];
    for (number, package) in inventory.packages.iter().enumerate() {
        let id = format!("SPDXRef-Package-{number}");
        let mut entry = described(&id, &package.name, &package.version, "LIBRARY");
        entry["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": inventory.url(package),
        }]);
        packages.push(entry);
        relations.push(relation(SYSTEM, "CONTAINS", &id));
    }
    written(&json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("urn:uuid:{}", identity(name, inventory)),
        "creationInfo": {
            "created": made.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "creators": [format!("Tool: kiln-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relations,
    }))
}

fn relation(from: &str, kind: &str, to: &str) -> Json {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// A UUID of what is listed: the same for the same list.
fn identity(name: &str, inventory: &Inventory) -> uuid::Uuid {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    for package in &inventory.packages {
        hash.update([0]);
        hash.update(inventory.url(package).as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn written(document: &Json) -> String {
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(list: &str) -> Inventory {
        Inventory::read(&format!("ID=debian\nVERSION_ID=12\n== packages dpkg\n{list}")).unwrap()
    }

    #[test]
    fn equal_lists_give_equal_documents_and_others_do_not() {
        let one = inventory("b\t1\tall\tinstalled\na\t2\tall\tinstalled\n");
        let same = inventory("a\t2\tall\tinstalled\nb\t1\tall\tinstalled\n");
        assert_eq!(cyclonedx("n", &one), cyclonedx("n", &same));
        assert_ne!(cyclonedx("n", &one), cyclonedx("n", &inventory("a\t2\tall\tinstalled\n")));
        let read: Json = serde_json::from_str(&cyclonedx("n", &one)).unwrap();
        assert_eq!(read["components"][0]["purl"], "pkg:deb/debian/a@2?arch=all&distro=debian-12");
        assert!(read["serialNumber"].as_str().unwrap().starts_with("urn:uuid:"));
    }

    #[test]
    fn spdx_names_every_package_once_and_says_whose_it_is() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let read: Json = serde_json::from_str(&spdx("n", &inventory("a\t2\tall\tinstalled\n"), at)).unwrap();
        assert_eq!(read["creationInfo"]["created"], "1970-01-01T00:00:00Z");
        assert_eq!(read["packages"].as_array().unwrap().len(), 2);
        assert_eq!(read["relationships"][1]["relatedSpdxElement"], read["packages"][1]["SPDXID"]);
    }

    /// Systems with what is hard to write down: `+`, `~`, epochs, one name twice, no architecture, no word of what system it is.
    const ANSWERS: [&str; 5] = [
        "ID=debian\nVERSION_ID=\"12\"\n== packages dpkg\ng++-12\t4:12.2.0-3\tamd64\tinstalled\nlibc6\t2.36-9+deb12u9\tamd64\tinstalled\n\
         libc6\t2.36-9+deb12u9\ti386\tinstalled\nvim\t2:9.0~rc1\tall\tinstalled\n",
        "ID=fedora\nVERSION_ID=40\n== packages rpm\nkernel\t6.8-1.fc40\tx86_64\nkernel\t6.9-1.fc40\tx86_64\nperl-x^1\t1:2-3\tnoarch\n\
         gpg-pubkey\ta15b79cc-63d04c2c\t(none)\n",
        "ID=alpine\nVERSION_ID=3.20.1\n== packages apk\n.build-deps\t20240101\tnoarch\nmusl\t1.2.5-r0\tx86_64\n",
        "ID=arch\n== packages pacman\nbash\t5.2.026-2\ngcc-libs\t14.1.1+r1-1\n",
        "== packages dpkg\nbusybox\t1:1.36 \"x\" <&>\tamd64\tinstalled\n\u{fffd}\u{1b}[1m\t1\tall\tinstalled\n",
    ];

    /// What `./x` installs: the library of CycloneDX and the tools of SPDX, of which neither knows Kiln.
    #[test]
    fn others_find_the_documents_valid() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = root.join("target/sbom/bin/python");
        if !python.is_file() {
            assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs {}", python.display());
            eprintln!("ignored: needs {}, which ./x test makes", python.display());
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let judged = |documents: &[(String, String)]| {
            let mut judge = std::process::Command::new(&python);
            judge.arg(root.join("tests/sbom/judge.py"));
            for (name, text) in documents {
                std::fs::write(place.path().join(name), text).unwrap();
                judge.arg(place.path().join(name));
            }
            let ran = judge.output().unwrap();
            (ran.status.success(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
        };
        let mut documents = Vec::new();
        for (number, answer) in ANSWERS.iter().enumerate() {
            let inventory = Inventory::read(answer).unwrap();
            documents.push((format!("{number}.cdx.json"), cyclonedx("web", &inventory)));
            documents.push((format!("{number}.spdx.json"), spdx("web", &inventory, jiff::Timestamp::now())));
        }
        let (valid, said) = judged(&documents);
        assert!(valid, "{said}");
        // The judges see what is wrong.
        let broken: Vec<_> =
            documents.into_iter().map(|(name, text)| (name, text.replace("\"name\"", "\"nom\""))).collect();
        let (_, said) = judged(&broken);
        for (name, _) in broken {
            assert!(said.contains(&format!("/{name}: ")), "{name} is not found wrong: {said}");
        }
    }
}
