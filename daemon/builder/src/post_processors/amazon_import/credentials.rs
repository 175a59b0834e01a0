//! Who asks and where: options, then the environment, then the profile in AWS's own files.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::StepError;
use crate::option_values::OptionValues;

/// A larger file is no file of AWS's programs.
const MAX_FILE: u64 = 1 << 20;

/// What a profile may have instead of keys.
const INDIRECT: [&str; 6] =
    ["role_arn", "credential_process", "sso_session", "sso_start_url", "web_identity_token_file", "credential_source"];

/// An access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, ***)", self.id)
    }
}

/// Who asks, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) keys: Keys,
    pub(super) region: String,
}

type Section = BTreeMap<String, String>;

impl Account {
    /// Finds it.
    pub(super) fn find(options: OptionValues<'_>) -> Result<Self, StepError> {
        Self::find_in(options, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn find_in(options: OptionValues<'_>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, StepError> {
        let given = |name: &str| options.given(name).map(str::to_owned);
        let named = given("profile").or_else(|| variable("AWS_PROFILE"));
        let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
        let credentials = given("shared_credentials_file").or_else(|| variable("AWS_SHARED_CREDENTIALS_FILE"));
        let credentials = credentials.map_or_else(|| home.join(".aws/credentials"), PathBuf::from);
        let config = variable("AWS_CONFIG_FILE").map_or_else(|| home.join(".aws/config"), PathBuf::from);
        let profile = named.clone().unwrap_or_else(|| "default".to_owned());
        let mut section = section(&config, &profile)?;
        section.extend(self::section(&credentials, &profile)?);
        let region = given("region")
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .or_else(|| section.get("region").cloned())
            .ok_or_else(|| {
                StepError::new("amazon-import needs a region")
                    .with_hint("set `region`, AWS_REGION, or region in the profile")
            })?;
        // The template's own keys come first; a profile that is named, before those of the environment.
        let own = match (given("access_key"), given("secret_key")) {
            (Some(id), Some(secret)) => Some(Keys { id, secret, token: given("token") }),
            _ => None,
        };
        let of_environment = || {
            let keys = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
            keys.map(|(id, secret)| Keys { id, secret, token: variable("AWS_SESSION_TOKEN") })
        };
        let of_profile = || keys_of(&section);
        let found = match (own, given("profile")) {
            (Some(keys), _) => Some(keys),
            (None, Some(_)) => of_profile(),
            (None, None) => of_environment().or_else(of_profile),
        };
        let keys = found.ok_or_else(|| no_keys(&section, &profile))?;
        Ok(Self { keys, region })
    }
}

fn keys_of(section: &Section) -> Option<Keys> {
    let value = |name: &str| section.get(name).cloned();
    Some(Keys {
        id: value("aws_access_key_id")?,
        secret: value("aws_secret_access_key")?,
        token: value("aws_session_token"),
    })
}

fn no_keys(section: &Section, profile: &str) -> StepError {
    let export = format!(
        "`eval \"$(aws configure export-credentials --profile {profile} --format env)\"` puts its keys into the environment"
    );
    match INDIRECT.iter().find(|name| section.contains_key(**name)) {
        Some(name) => {
            StepError::new(format!("the profile {profile} has {name} instead of keys, and Kiln gets none by it")).with_hint(export)
        }
        None => StepError::new(format!("amazon-import finds no credentials: neither in the template, the environment nor the profile {profile}"))
            .with_hint("set access_key and secret_key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials"),
    }
}

/// What a file says of a profile; nothing where there is no file.
fn section(path: &Path, profile: &str) -> Result<Section, StepError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Section::new()),
        Err(error) => return Err(StepError::new(format!("cannot read {}", path.display())).with_source(error)),
    };
    let mut text = String::new();
    let read = file.take(MAX_FILE).read_to_string(&mut text);
    read.map_err(|error| StepError::new(format!("cannot read {}", path.display())).with_source(error))?;
    Ok(parse(&text, profile))
}

fn parse(text: &str, profile: &str) -> Section {
    let mut found = Section::new();
    let mut is_in = false;
    for line in text.lines() {
        // What is indented belongs to a setting of services.
        if line.starts_with([' ', '\t', '#', ';']) || line.trim().is_empty() {
            continue;
        }
        if let Some(name) = line.trim().strip_prefix('[').and_then(|line| line.split(']').next()) {
            let name = name.trim();
            is_in = name.strip_prefix("profile ").map_or(name, str::trim) == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_in) {
            found.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kiln_template::{DataMode, Generated, Inputs, MemoryFiles, Options, Schema, load_with};

    use super::*;
    use crate::catalog::BuiltIn;

    const FILE: &str = "# mine\n[default]\naws_access_key_id = DEF\naws_secret_access_key=defsecret\n\n[other]\naws_access_key_id = OTH\n\
                        aws_secret_access_key = othsecret\naws_session_token = tok=en\n[role]\nrole_arn = arn\n[profile reg]\nregion = eu-west-9\ns3 =\n  region = no\n";

    fn decode(body: &str) -> (Options, &'static Schema) {
        let text = format!(
            "source \"file\" \"x\" {{\n target = \"t\"\n content = \"c\"\n}}\nbuild {{\n sources = [\"file.x\"]\n \
             post-processor \"amazon-import\" {{\n{body}}}\n}}\n"
        );
        let cwd = PathBuf::from("/t");
        let inputs = Inputs {
            path: "t.pkr.hcl".into(),
            cwd: cwd.clone(),
            vars: Vec::new(),
            var_files: Vec::new(),
            env: BTreeMap::new(),
            only: Vec::new(),
            except: Vec::new(),
            now: jiff::Timestamp::UNIX_EPOCH,
            warn_on_undeclared_var: false,
        };
        let files = MemoryFiles::new().with(cwd.join("t.pkr.hcl"), text.as_bytes());
        let loaded = load_with(&inputs, Arc::new(files), &BuiltIn, DataMode::Unknown);
        let component = &loaded.evaluated.unwrap().builds[0].post_processors[0][0].component;
        let (options, problems) = component.decode(&Generated::plan());
        assert!(!problems.has_errors(), "{body}");
        (options.unwrap(), component.schema())
    }

    fn find(options: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Account, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        std::fs::write(&path, FILE).unwrap();
        let body: String = options.iter().map(|(name, value)| format!("{name} = {value:?}\n")).collect();
        let (decoded, schema) = decode(&body);
        let variable = |name: &str| match name {
            "AWS_SHARED_CREDENTIALS_FILE" => Some(path.display().to_string()),
            "AWS_CONFIG_FILE" => Some("/nonexistent".to_owned()),
            _ => variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()),
        };
        Account::find_in(OptionValues::new(&decoded, schema), &variable)
            .map_err(|error| format!("{error} {}", error.hint().unwrap_or_default()))
    }

    #[test]
    fn options_come_before_the_environment_and_that_before_files() {
        let region = ("region", "r1");
        let of = |options: &[(&str, &str)], variables: &[(&str, &str)]| find(options, variables).unwrap().keys.id;
        let environment = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "envsecret")];
        assert_eq!(of(&[region, ("access_key", "OPT"), ("secret_key", "s")], &environment), "OPT");
        assert_eq!(of(&[region], &environment), "ENV");
        assert_eq!(of(&[region], &[]), "DEF");
        assert_eq!(of(&[region, ("profile", "other")], &environment), "OTH");
        assert_eq!(of(&[region], &[("AWS_PROFILE", "other")]), "OTH");
        let token = find(&[region, ("profile", "other")], &[]).unwrap().keys.token;
        assert_eq!(token.as_deref(), Some("tok=en"));
    }

    #[test]
    fn a_region_is_found_or_asked_for() {
        assert_eq!(find(&[], &[("AWS_REGION", "r2"), ("AWS_DEFAULT_REGION", "r3")]).unwrap().region, "r2");
        assert_eq!(find(&[], &[("AWS_DEFAULT_REGION", "r3")]).unwrap().region, "r3");
        let keys = [("access_key", "OPT"), ("secret_key", "s"), ("profile", "reg")];
        assert_eq!(find(&keys, &[]).unwrap().region, "eu-west-9");
        assert!(find(&[], &[]).unwrap_err().contains("needs a region"));
    }

    #[test]
    fn what_kiln_does_not_get_keys_by_is_named_with_a_way_round() {
        let error = find(&[("region", "r"), ("profile", "role")], &[]).unwrap_err();
        assert!(error.contains("role_arn") && error.contains("export-credentials --profile role"), "{error}");
        let error = find(&[("region", "r"), ("profile", "none")], &[]).unwrap_err();
        assert!(error.contains("finds no credentials"), "{error}");
        let keys = Keys { id: "A".to_owned(), secret: "hidden".to_owned(), token: None };
        assert_eq!(format!("{keys:?}"), "Keys(A, ***)");
    }
}
