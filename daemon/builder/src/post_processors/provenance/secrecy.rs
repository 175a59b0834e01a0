//! What of a statement may be said. A text that the user wrote freely is left out whole when it holds a secret; what names or proves something
//! is never rewritten: it is left out, or nothing is attested.

use kiln_template::Redactor;
use serde_json::Value as Json;

use crate::attestation::{Material, Predicate, Subject};
use crate::error::StepError;

/// What stands for a text that is left out; Packer's words for the value of a variable.
pub(super) const HIDDEN: &str = "[sensitive value redacted]";

/// A shorter secret is a word that names of files have too (`web`, `packer`): it does not make them secrets.
const LONG: usize = 8;

/// What to do about a name that cannot be said.
const HINT: &str =
    "whoever gets the attestation reads its names: give it another, or do not mark the variable as sensitive";

/// What the build's secrets leave of a statement.
pub(super) struct Secrecy<'a>(pub(super) &'a Redactor);

impl Secrecy<'_> {
    /// A text that the user wrote, when no secret stands in it.
    pub(super) fn text(&self, text: &str) -> String {
        if self.0.redact(text) == text { text.to_owned() } else { HIDDEN.to_owned() }
    }

    /// Whether a name can be said.
    pub(super) fn is_name(&self, name: &str) -> bool {
        !self.0.finds(name, LONG)
    }

    /// The subjects: without their names they are nothing.
    pub(super) fn subjects(&self, subjects: &[Subject]) -> Result<(), StepError> {
        match subjects.iter().find(|subject| !self.is_name(&subject.name)) {
            None => Ok(()),
            Some(subject) => Err(refused("the name of what was built", &subject.name)),
        }
    }

    /// The predicate without what cannot be said; the names of what is missing.
    pub(super) fn predicate(&self, mut predicate: Predicate) -> Result<(Predicate, Vec<&'static str>), StepError> {
        let mut missing = Vec::new();
        let definition = &mut predicate.build_definition;
        for (what, name) in
            [("build_type", &definition.build_type), ("the builder's id", &predicate.run_details.builder.id)]
        {
            if !self.is_name(name) {
                return Err(refused(what, name));
            }
        }
        for value in definition.external_parameters.values_mut() {
            self.values(value);
        }
        for value in definition.internal_parameters.values_mut() {
            if value.as_str().is_some_and(|name| !self.is_name(name)) {
                *value = HIDDEN.into();
            }
        }
        for Material { uri, name, .. } in &mut definition.resolved_dependencies {
            if !self.is_name(uri) || !self.is_name(name) {
                uri.clear();
                HIDDEN.clone_into(name);
                missing.push("where an input comes from");
            }
        }
        let run = &mut predicate.run_details.metadata.invocation_id;
        if !self.is_name(run) {
            run.clear();
            missing.push("the run's id");
        }
        missing.dedup();
        Ok((predicate, missing))
    }

    /// What the user asked for; names of parameters stay.
    fn values(&self, value: &mut Json) {
        match value {
            Json::String(text) => *text = self.text(text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.values(item)),
            Json::Object(fields) => {
                fields.retain(|name, _| self.is_name(name));
                fields.values_mut().for_each(|field| self.values(field));
            }
            _ => {}
        }
    }
}

fn refused(what: &str, name: &str) -> StepError {
    StepError::new(format!("{what} holds a secret of the template, and an attestation says it: {name}")).with_hint(HINT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::attestation::{BuildDefinition, Builder, RunDetails, RunMetadata, sha256};

    fn predicate() -> Predicate {
        let material =
            |name: &str, uri: &str| Material { name: name.to_owned(), uri: uri.to_owned(), digest: sha256("00") };
        Predicate {
            build_definition: BuildDefinition {
                build_type: "https://example.com/web".to_owned(),
                external_parameters: json!({
                    "template": "web.pkr.hcl", "onlyBuilds": ["qemu.web", "b"],
                    "userVariables": {"sha256": "abc", "name": "x-hunter2-hunter2-y"},
                })
                .as_object()
                .unwrap()
                .clone(),
                internal_parameters: json!({"packerBuildName": "web"}).as_object().unwrap().clone(),
                resolved_dependencies: vec![
                    material("web.sh", ""),
                    material("", "https://hunter2-hunter2@x"),
                    material("hunter2-hunter2.sh", "file:x"),
                ],
            },
            run_details: RunDetails {
                builder: Builder::kiln(None),
                metadata: RunMetadata { invocation_id: "hunter2-hunter2".to_owned() },
                byproducts: Vec::new(),
            },
        }
    }

    #[test]
    fn no_digest_and_no_name_of_a_field_is_ever_rewritten() {
        // Words of the statement itself, and of everything that is built.
        let redactor = Redactor::new(["web", "sha256", "name", "uri", "digest", "hunter2-hunter2"].map(str::to_owned));
        let secrecy = Secrecy(&redactor);
        let (said, missing) = secrecy.predicate(predicate()).unwrap();
        assert_eq!(missing, ["where an input comes from", "the run's id"]);
        let said = serde_json::to_value(said).unwrap();
        let definition = &said["buildDefinition"];
        assert_eq!(
            definition["externalParameters"],
            json!({"template": HIDDEN, "onlyBuilds": [HIDDEN, "b"], "userVariables": {"sha256": "abc", "name": HIDDEN}})
        );
        let digest = json!({"sha256": "00"});
        assert_eq!(
            definition["resolvedDependencies"],
            json!([{"name": "web.sh", "digest": digest}, {"name": HIDDEN, "digest": digest}, {"name": HIDDEN, "digest": digest}])
        );
        assert_eq!(definition["buildType"], "https://example.com/web");
        assert_eq!(definition["internalParameters"]["packerBuildName"], "web");
        assert_eq!(said["runDetails"]["metadata"], json!({}));
        assert!(!said.to_string().contains("hunter2"), "{said}");
    }

    #[test]
    fn what_is_nothing_without_its_name_is_refused() {
        let redactor = Redactor::new(["web", "hunter2-hunter2"].map(str::to_owned));
        let secrecy = Secrecy(&redactor);
        let subject = |name: &str| Subject { name: name.to_owned(), digest: sha256("00") };
        secrecy.subjects(&[subject("web.qcow2")]).unwrap();
        let error = secrecy.subjects(&[subject("web"), subject("a-hunter2-hunter2.img")]).unwrap_err();
        assert!(error.to_string().contains("the name of what was built") && error.hint().is_some(), "{error}");
        let mut named = predicate();
        named.run_details.builder.id = "https://hunter2-hunter2".to_owned();
        assert!(secrecy.predicate(named).unwrap_err().to_string().contains("the builder's id"));
    }
}
