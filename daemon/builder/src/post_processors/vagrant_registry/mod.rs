//! The post-processors vagrant-registry and vagrant-cloud: publish a Vagrant box.
//!
//! ```text
//! box (HCP makes it when it is not there) → version → provider → architecture → upload, confirmed → release
//! ```
//!
//! What was made on the way is removed again when the upload fails or is cancelled; what was there before stays, and so does what others have
//! put there since.

mod api;
mod box_file;
mod cloud;
mod give_back;
mod hcp;
mod publication;

use std::path::PathBuf;
use std::sync::Arc;

use hyper::Method;

use self::api::Api;
pub(super) use self::give_back::Boxes;
use self::give_back::{Kind, Made, Part};
use self::publication::Publication;
pub(crate) use self::publication::Service;
use super::context::{PostProcessContext, Processed};
use crate::artifact::{Artifact, Ownership};
use crate::attestation::digest_of_file;
use crate::blocking::blocking;
use crate::error::StepError;
use crate::fetch::Body;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

/// What `box_download_url` is rendered with.
pub(crate) const FIELDS: &[&str] = &["Architecture", "Provider", "ArtifactId"];

/// The makers of artifacts that are boxes.
const MAKERS: [&str; 3] = ["mitchellh.post-processor.vagrant", "packer.post-processor.artifice", "vagrant"];

/// The maker that does not know what its files are.
const ARTIFICE: &str = "packer.post-processor.artifice";

/// A larger box cannot be sent past the service.
const DIRECT_LIMIT: u64 = 5 << 30;

pub(crate) async fn run(
    context: &PostProcessContext,
    service: Service,
    options: OptionValues<'_>,
    renderer: &Renderer,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let publication = publication(context, options, renderer, input).await?;
    let mut api = match service {
        Service::Cloud => cloud::log_in(context, options).await?,
        Service::Hcp => hcp::log_in(context, options).await?,
    };
    match service {
        Service::Cloud => cloud::find_box(&mut api, &publication.tag).await?,
        Service::Hcp => hcp::find_box(context, &mut api, options, &publication.tag).await?,
    }
    let mut made = Made::nothing(&api, service, &publication);
    let is_released = version(context, service, &mut api, &publication, &mut made).await?;
    match service {
        Service::Cloud => cloud::provider(context, &mut api, &publication, &mut made).await?,
        Service::Hcp => hcp::provider(context, &mut api, &publication, &mut made).await?,
    }
    if publication.download_url.is_none() {
        upload(context, service, &mut api, &publication).await?;
    }
    if !publication.unreleased && !is_released {
        made.releasing()?;
    }
    release(context, service, &mut api, &publication, is_released).await?;
    // It is meant to stay.
    made.keep();
    let (maker, text) = match service {
        Service::Cloud => ("pearkes.post-processor.vagrant-cloud", "vagrant-cloud"),
        Service::Hcp => ("hashicorp.post-processor.vagrant-registry", "vagrant-registry"),
    };
    let artifact = Artifact {
        builder_id: maker.to_owned(),
        id: publication.provider.clone(),
        text: format!("'{}': {} ({text})", publication.provider, publication.tag),
        files: Vec::new(),
        ownership: Ownership::Nothing,
    };
    Ok(Processed { artifact, keep_input: true, force_keep: false })
}

/// Reads what is to be published of the artifact, by the options.
async fn publication(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
    input: &Artifact,
) -> Result<Publication, StepError> {
    if !MAKERS.contains(&input.builder_id.as_str()) {
        let words = format!(
            "Unknown artifact type: this post-processor requires an input artifact from the artifice post-processor, vagrant \
             post-processor, or vagrant builder: {}",
            input.builder_id
        );
        return Err(StepError::new(words).with_hint("put it behind vagrant in one post-processors block"));
    }
    let file = input.files.first().filter(|file| file.extension().is_some_and(|ending| ending == "box"));
    let file = file.ok_or_else(|| StepError::new("the artifact's first file is no .box"))?.clone();
    let given = |name: &str| options.given(name).map(str::to_owned);
    let mut architecture = given("architecture");
    let mut provider = (input.builder_id != ARTIFICE).then(|| provider_of(&input.id).to_owned());
    if architecture.is_none() || provider.is_none() {
        let path = file.clone();
        let said = blocking("reading a box", move |abandoned| box_file::read(&path, abandoned)).await?;
        architecture = architecture.or(said.architecture);
        provider = provider.or(said.provider);
    }
    let missing = |what: &str| {
        StepError::new(format!("the box's metadata.json does not say its {what}"))
            .with_hint(format!("`{what}` of a box that the vagrant post-processor makes is always said"))
    };
    let architecture = architecture.ok_or_else(|| missing("architecture"))?;
    let provider = provider.ok_or_else(|| missing("provider"))?;
    let fields =
        [("Architecture", architecture.as_str()), ("Provider", provider.as_str()), ("ArtifactId", input.id.as_str())];
    let download_url = match options.given("box_download_url") {
        Some(url) => Some(renderer.render(url, &fields)?),
        None => None,
    };
    let mut checksum = options.given("box_checksum").and_then(|text| text.split_once(':'));
    let own;
    if checksum.is_none() && download_url.is_none() {
        own = sha256(context, file.clone()).await?;
        checksum = Some(("sha256", own.as_str()));
    }
    let length = file.metadata().map(|metadata| metadata.len());
    let length =
        length.map_err(|error| StepError::new(format!("cannot read {}", file.display())).with_source(error))?;
    let mut through = options.flag("no_direct_upload");
    if !through && length > DIRECT_LIMIT && download_url.is_none() {
        context.build.say(format!("{} is too large to be sent past the service: it goes through it", file.display()));
        through = true;
    }
    Ok(Publication {
        tag: given("box_tag").unwrap_or_default().trim_end().to_owned(),
        version: given("version").unwrap_or_default().trim_end().to_owned(),
        version_description: given("version_description"),
        is_default: options.given("default_architecture") == Some(architecture.as_str()),
        provider,
        architecture,
        download_url,
        checksum: checksum.map(|(kind, digest)| (kind.to_owned(), digest.to_owned())),
        file,
        through,
        unreleased: options.flag("no_release"),
    })
}

/// What Vagrant calls the provider that Packer calls `name`.
fn provider_of(name: &str) -> &str {
    if name == "vmware" { "vmware_desktop" } else { name }
}

async fn sha256(context: &PostProcessContext, file: PathBuf) -> Result<String, StepError> {
    let reporter = context.build.clone();
    let total = file.metadata().ok().map(|metadata| metadata.len());
    let hashing = blocking("computing a digest", move |abandoned| {
        let digest = digest_of_file(&file, &|done| {
            reporter.progress("SHA-256 of the box", done, total);
            let is_over = abandoned.load(std::sync::atomic::Ordering::Relaxed);
            if is_over { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
        });
        digest.map_err(StepError::wrap)
    });
    hashing.await
}

/// Finds the version or makes it; says whether it is released already.
async fn version(
    context: &PostProcessContext,
    service: Service,
    api: &mut Api,
    publication: &Publication,
    made: &mut Made,
) -> Result<bool, StepError> {
    let Publication { tag, version, .. } = publication;
    let found = match service {
        Service::Cloud => cloud::version(api, publication).await?,
        Service::Hcp => hcp::version(api, publication).await?,
    };
    if let Some(is_released) = found {
        context.build.message("Version exists, skipping creation");
        return Ok(is_released);
    }
    let path = service.version_path(publication);
    let (ask_at, wanted) = match service {
        Service::Cloud => cloud::new_version(publication),
        Service::Hcp => hcp::new_version(publication),
    };
    let part = Part::new(Kind::Version, format!("version {version} of {tag}"), path);
    made.make(context, api, part, (&ask_at, &wanted)).await?;
    context.build.say(format!("Created new version: {version}"));
    Ok(false)
}

/// Sends the box, and says that it is there.
async fn upload(
    context: &PostProcessContext,
    service: Service,
    api: &mut Api,
    publication: &Publication,
) -> Result<(), StepError> {
    let file = &publication.file;
    context.build.say(format!("Preparing upload of box: {}", file.display()));
    let wanted = match service {
        Service::Cloud => cloud::prepare_upload(api, publication).await?,
        Service::Hcp => hcp::prepare_upload(api, publication).await?,
    };
    context.build.say(format!("Uploading box: {}", file.display()));
    let total = file.metadata().ok().map(|metadata| metadata.len());
    let reporter = context.build.clone();
    let sent = Arc::new(move |done| reporter.progress("upload the box", done, total));
    api.send_file(&wanted.url, Body::File(file.clone(), sent)).await?;
    if let Some(confirm) = wanted.confirm {
        context.build.say("Confirming direct box upload completion");
        api.ask(Method::PUT, &confirm, None).await?.success()?;
    }
    context.build.message("Box successfully uploaded");
    Ok(())
}

async fn release(
    context: &PostProcessContext,
    service: Service,
    api: &mut Api,
    publication: &Publication,
    is_released: bool,
) -> Result<(), StepError> {
    if publication.unreleased {
        context.build.message("Not releasing version due to configuration");
        return Ok(());
    }
    if is_released {
        context.build.message("Not releasing version, already released");
        return Ok(());
    }
    context.build.say(format!("Releasing version: {}", publication.version));
    let path = format!("{}/release", service.version_path(publication));
    let answer = api.ask(Method::PUT, &path, None).await?;
    if !answer.status.is_success() && answer.said().contains("already been released") {
        context.build.message("Not releasing version, already released");
        return Ok(());
    }
    answer.success()?;
    context.build.message("Version successfully released and available");
    Ok(())
}
