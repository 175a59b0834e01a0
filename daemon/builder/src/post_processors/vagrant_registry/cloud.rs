//! Vagrant Cloud's API, version 2: the box has to be there.

use hyper::Method;
use serde_json::{Value as Json, json};

use super::super::context::PostProcessContext;
use super::api::{Api, Login};
use super::give_back::{Kind, Made, Part};
use super::publication::{Publication, Service, Upload};
use crate::error::StepError;
use crate::option_values::OptionValues;

/// Where the token may stand when the template has none.
const TOKENS: [&str; 2] = ["VAGRANT_CLOUD_TOKEN", "ATLAS_TOKEN"];

pub(super) async fn log_in(context: &PostProcessContext, options: OptionValues<'_>) -> Result<Api, StepError> {
    let url = options.text("vagrant_cloud_url").unwrap_or_default();
    let is_default = Some(url.as_str()) == options.default_of("vagrant_cloud_url");
    let variable = || TOKENS.iter().find_map(|name| std::env::var(name).ok().filter(|token| !token.is_empty()));
    let login = match options.given("access_token").map(str::to_owned).or_else(variable) {
        Some(token) => Login::Token(token),
        None if is_default => {
            let words = "access_token must be set if vagrant_cloud_url has not been overridden";
            return Err(StepError::new(words).with_hint("VAGRANT_CLOUD_TOKEN in the environment serves too"));
        }
        None => Login::Nobody,
    };
    let insecure = options.flag("insecure_skip_tls_verify") && !is_default;
    let mut api = Api::new(&context.build, &url, insecure, login)?;
    // A wrong token is told before anything is made.
    api.ask(Method::GET, "authenticate", None).await?.success()?;
    Ok(api)
}

pub(super) async fn find_box(api: &mut Api, tag: &str) -> Result<(), StepError> {
    match api.find(&format!("box/{tag}")).await? {
        Some(_) => Ok(()),
        None => Err(StepError::new(format!("there is no box {tag}, or it is not shown to this token"))
            .with_hint("make the box in Vagrant Cloud first; vagrant-registry makes boxes itself")),
    }
}

/// Whether the version is released, where it is there.
pub(super) async fn version(api: &mut Api, publication: &Publication) -> Result<Option<bool>, StepError> {
    let found = api.find(&Service::Cloud.version_path(publication)).await?;
    Ok(found.map(|version| Service::Cloud.is_released(&version)))
}

/// Where a version is asked for, and with what.
pub(super) fn new_version(publication: &Publication) -> (String, Json) {
    let mut version = json!({"version": publication.version});
    if let Some(description) = &publication.version_description {
        version["description"] = description.as_str().into();
    }
    (format!("box/{}/versions", publication.tag), json!({"version": version}))
}

/// Makes the provider. One that is there already stays as it is.
pub(super) async fn provider(
    context: &PostProcessContext,
    api: &mut Api,
    publication: &Publication,
    made: &mut Made,
) -> Result<(), StepError> {
    let Publication { tag, version, provider, architecture, .. } = publication;
    let mut wanted = json!({"name": provider, "architecture": architecture});
    if publication.is_default {
        wanted["default_architecture"] = true.into();
    }
    if let Some(url) = &publication.download_url {
        wanted["url"] = url.as_str().into();
    }
    if let Some((kind, digest)) = &publication.checksum {
        wanted["checksum_type"] = kind.as_str().into();
        wanted["checksum"] = digest.as_str().into();
    }
    let path = format!("box/{tag}/version/{version}/provider/{provider}/{architecture}");
    if api.find(&path).await?.is_some() {
        let words = format!("version {version} of {tag} has a box for {provider} ({architecture}) already");
        return Err(StepError::new(words).with_hint("give this one another version, or remove that one first"));
    }
    context.build.say(format!("Creating provider: {provider}"));
    let ask_at = format!("box/{tag}/version/{version}/providers");
    let name = format!("provider {provider} ({architecture}) of {tag} {version}");
    let part = Part::new(Kind::Box, name, path);
    made.make(context, api, part, (&ask_at, &json!({"provider": wanted}))).await.map(drop)
}

pub(super) async fn prepare_upload(api: &mut Api, publication: &Publication) -> Result<Upload, StepError> {
    let Publication { tag, version, provider, architecture, through, .. } = publication;
    let direct = if *through { "" } else { "/direct" };
    let path = format!("box/{tag}/version/{version}/provider/{provider}/{architecture}/upload{direct}");
    let answer = api.ask(Method::GET, &path, None).await?.success()?;
    let text = |name: &str| answer.json[name].as_str().map(str::to_owned);
    let url = text("upload_path").ok_or_else(|| no_link(&answer.json))?;
    Ok(Upload { url, confirm: text("callback").filter(|_| !*through) })
}

fn no_link(answer: &Json) -> StepError {
    let names = answer.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
    StepError::new(format!(
        "the service gives no link to send the box to; its answer has: {}",
        names.unwrap_or_default()
    ))
}
