//! HCP's registry, API of 2022-09-30: boxes are made when they are not there, and have an architecture below each provider.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use super::super::context::PostProcessContext;
use super::api::{Api, Login};
use super::give_back::{Kind, Made, Part};
use super::publication::{Publication, Service, Upload};
use crate::error::StepError;
use crate::option_values::OptionValues;

/// HCP itself.
const ADDRESS: &str = "api.cloud.hashicorp.com:443";

/// Where HCP logs in.
const AUTH_URL: &str = "https://auth.idp.hashicorp.com";

/// How long a new box may take until it is there.
const BOX_LIMIT: Duration = Duration::from_secs(60);

/// Pace of looking for it.
const BOX_PACE: Duration = Duration::from_secs(1);

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) async fn log_in(context: &PostProcessContext, options: OptionValues<'_>) -> Result<Api, StepError> {
    let given =
        |name: &str, variable_name: &str| options.given(name).map(str::to_owned).or_else(|| variable(variable_name));
    let address = given("hcp_api_address", "HCP_API_ADDRESS").unwrap_or_else(|| ADDRESS.to_owned());
    let is_hcp = address == ADDRESS;
    let insecure = options.flag("insecure_skip_tls_verify");
    if insecure && is_hcp {
        return Err(StepError::new("insecure_skip_tls_verify cannot be enabled for HCP"));
    }
    let login = match (given("client_id", "HCP_CLIENT_ID"), given("client_secret", "HCP_CLIENT_SECRET")) {
        (Some(id), Some(secret)) => {
            let auth = given("hcp_auth_url", "HCP_AUTH_URL").unwrap_or_else(|| AUTH_URL.to_owned());
            let token_url = format!("{}/oauth2/token", auth.trim_end_matches('/'));
            Login::Client { token_url, id, secret, token: None }
        }
        // A service of one's own may let in everybody.
        _ if !is_hcp => Login::Nobody,
        (None, _) => return Err(missing("client_id", "HCP_CLIENT_ID")),
        _ => return Err(missing("client_secret", "HCP_CLIENT_SECRET")),
    };
    let base = if address.contains("://") { address } else { format!("https://{address}") };
    Api::new(&context.build, &format!("{}/vagrant/2022-09-30", base.trim_end_matches('/')), insecure, login)
}

fn missing(name: &str, variable: &str) -> StepError {
    StepError::new(format!("{name} must be set")).with_hint(format!("{variable} in the environment serves too"))
}

fn box_path(tag: &str) -> String {
    Service::Hcp.box_path(tag)
}

fn version_path(publication: &Publication) -> String {
    Service::Hcp.version_path(publication)
}

fn provider_path(publication: &Publication) -> String {
    format!("{}/provider/{}", version_path(publication), publication.provider)
}

fn architecture_path(publication: &Publication) -> String {
    format!("{}/architecture/{}", provider_path(publication), publication.architecture)
}

/// Finds the box or makes it. A box that was made stays, whatever becomes of the version.
pub(super) async fn find_box(
    context: &PostProcessContext,
    api: &mut Api,
    options: OptionValues<'_>,
    tag: &str,
) -> Result<(), StepError> {
    if api.find(&box_path(tag)).await?.is_some() {
        context.build.say(format!("Found box and verified accessible: {tag}"));
        return Ok(());
    }
    let (registry, name) = tag.split_once('/').unwrap_or((tag, ""));
    let mut wanted = json!({"name": name, "is_private": options.flag("box_private")});
    if let Some(description) = options.given("box_description") {
        wanted["description"] = description.into();
    }
    api.ask(Method::POST, &format!("registry/{registry}/boxes"), Some(&wanted)).await?.success()?;
    context.build.say(format!("Created new box: {tag}"));
    // HCP makes it in its own time.
    let _told = context.build.waiting("the new box", Some(BOX_LIMIT));
    let until = Instant::now() + BOX_LIMIT;
    while api.find(&box_path(tag)).await?.is_none() {
        if Instant::now() >= until {
            let words = format!("the new box {tag} has not come to be within {} s", BOX_LIMIT.as_secs());
            return Err(StepError::new(words).with_hint("look at it in HCP, and build again when it is there"));
        }
        sleep(BOX_PACE).await;
    }
    Ok(())
}

/// Whether the version is released, where it is there.
pub(super) async fn version(api: &mut Api, publication: &Publication) -> Result<Option<bool>, StepError> {
    let Some(found) = api.find(&version_path(publication)).await? else { return Ok(None) };
    if found.get("version").is_none_or(Json::is_null) {
        return Err(StepError::new("the service's answer has no version: is it HCP's registry?"));
    }
    Ok(Some(Service::Hcp.is_released(&found)))
}

/// Where a version is asked for, and with what.
pub(super) fn new_version(publication: &Publication) -> (String, Json) {
    let mut wanted = json!({"name": publication.version});
    if let Some(description) = &publication.version_description {
        wanted["description"] = description.as_str().into();
    }
    (format!("{}/versions", box_path(&publication.tag)), wanted)
}

/// Finds or makes the provider and, below it, the architecture, whose box is then said to be this one.
pub(super) async fn provider(
    context: &PostProcessContext,
    api: &mut Api,
    publication: &Publication,
    made: &mut Made,
) -> Result<(), StepError> {
    let Publication { tag, version, provider, architecture, .. } = publication;
    if api.find(&provider_path(publication)).await?.is_some() {
        context.build.message("Provider exists, skipping creation");
    } else {
        let ask_at = format!("{}/providers", version_path(publication));
        let name = format!("provider {provider} of {tag} {version}");
        let part = Part::new(Kind::Provider, name, provider_path(publication));
        made.make(context, api, part, (&ask_at, &json!({"name": provider}))).await?;
        context.build.say(format!("Created new provider: {provider}"));
    }
    let data = box_data(publication);
    if api.find(&architecture_path(publication)).await?.is_some() {
        context.build.message("Architecture exists, its box is replaced");
        let wanted = json!({"box_data": data});
        api.ask(Method::PUT, &architecture_path(publication), Some(&wanted)).await?.success()?;
        return Ok(());
    }
    let wanted = json!({"architecture_type": architecture, "default": publication.is_default, "box_data": data});
    let ask_at = format!("{}/architectures", provider_path(publication));
    let name = format!("architecture {architecture} of {tag} {version} ({provider})");
    let part = Part::new(Kind::Box, name, architecture_path(publication));
    made.make(context, api, part, (&ask_at, &wanted)).await.map(drop)
}

fn box_data(publication: &Publication) -> Json {
    let mut data = json!({"checksum_type": "NONE"});
    if let Some(url) = &publication.download_url {
        data["download_url"] = url.as_str().into();
    }
    if let Some((kind, digest)) = &publication.checksum {
        data["checksum_type"] = kind.to_ascii_uppercase().into();
        data["checksum"] = digest.as_str().into();
    }
    data
}

pub(super) async fn prepare_upload(api: &mut Api, publication: &Publication) -> Result<Upload, StepError> {
    let path = architecture_path(publication);
    let way = if publication.through { "upload" } else { "direct/upload" };
    let answer = api.ask(Method::GET, &format!("{path}/{way}"), None).await?.success()?;
    let text = |name: &str| answer.json[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let no = |what: &str| StepError::new(format!("the service gives no {what} to upload the box with"));
    let url = text("url").ok_or_else(|| no("url"))?;
    if publication.through {
        return Ok(Upload { url, confirm: None });
    }
    let object = text("object").ok_or_else(|| no("object"))?;
    Ok(Upload { url, confirm: Some(format!("{path}/direct/complete/{object}")) })
}
