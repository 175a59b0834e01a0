//! The post-processor amazon-import: an AMI of the artifact's disk, through the EBS direct APIs: no bucket, no role of an import service.
//!
//! ```text
//! disk ─ blocks of 512 KiB with data in them ─► StartSnapshot, PutSnapshotBlock × n, CompleteSnapshot ─► RegisterImage ─► share
//! ```
//!
//! Until all of it has succeeded, what was made is removed when something fails or is cancelled, or by a sweep when the worker has died: each is
//! noted before it is asked for.

mod blocks;
mod credentials;
mod disk;
mod ebs;
mod ec2;
mod give_back;
mod image;
mod service;
mod sigv4;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use self::credentials::Account;
use self::ebs::Ebs;
use self::ec2::Ec2;
use self::give_back::AskedImage;
pub(super) use self::give_back::Import;
use self::image::Image;
use super::context::{PostProcessContext, Processed};
use super::remote::Claim;
use crate::artifact::{Artifact, Ownership};
use crate::error::StepError;
use crate::option_values::OptionValues;

/// How long AWS may take to have a snapshot or an image ready.
const READY_LIMIT: Duration = Duration::from_secs(3600);

/// Words of `architecture`.
pub(crate) const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];

/// Words of `boot_mode`.
pub(crate) const BOOT_MODES: [&str; 3] = ["legacy-bios", "uefi", "uefi-preferred"];

/// Words of `volume_type`.
pub(crate) const VOLUME_TYPES: [&str; 5] = ["gp3", "gp2", "io1", "io2", "standard"];

/// Most requests that are under way at once.
const PARALLEL: usize = 16;

pub(crate) async fn run(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let build = &context.build;
    let disk = disk::of(build, input).await?;
    let account = Account::find(options)?;
    build.redactor.add(&account.keys.secret);
    account.keys.token.iter().for_each(|token| build.redactor.add(token));
    let tries = u32::try_from(options.number("max_retries")).unwrap_or(0).saturating_add(1);
    let name = options.given("ami_name").map_or_else(|| default_name(context), str::to_owned);
    let image = image(context, options, name, disk.virtual_size())?;
    let own = |service: &str| options.given(&format!("custom_endpoint_{service}")).map(str::to_owned);
    let mut import = Import {
        account,
        ec2: own("ec2"),
        ebs: own("ebs"),
        insecure: options.flag("insecure_skip_tls_verify"),
        tries,
        description: format!("{} (imported by Kiln as {})", image.name, uuid::Uuid::new_v4()),
        snapshot: None,
        image: None,
    };
    let mut ec2 = Ec2::new(import.service("ec2")?, tries);
    let mut ebs = Ebs::new(import.service("ebs")?, tries);
    let region = import.account.region.clone();
    build.say(format!("Importing {} into {region} as {}", disk.path.display(), image.name));
    let what = format!("the snapshot of {} in {region} and the image of it", image.name);
    let claim = Claim::begin(build, &what, &import)?;
    let snapshot = match ebs.start(build, &image, &import.description).await {
        // There is nothing to look for.
        Err(error) if ebs.has_refused() => {
            claim.keep();
            return Err(error);
        }
        started => started?,
    };
    import.snapshot = Some(snapshot.id.clone());
    claim.update(&import)?;
    blocks::put_all(build, &ebs, &snapshot, Arc::new(disk), PARALLEL).await?;
    ec2.wait_for_snapshot(build, &snapshot.id, READY_LIMIT).await?;
    import.image = Some(AskedImage { name: image.name.clone(), id: None });
    claim.update(&import)?;
    let ami = match ec2.register(&image, &snapshot.id).await {
        Err(error) if ec2.has_refused() => {
            import.image = None;
            claim.update(&import)?;
            return Err(error);
        }
        registered => registered?,
    };
    import.image = Some(AskedImage { name: image.name.clone(), id: Some(ami.clone()) });
    claim.update(&import)?;
    ec2.wait_for_image(build, &ami, READY_LIMIT).await?;
    ec2.share(&ami, &snapshot.id, &image).await?;
    claim.keep();
    build.say(format!("Registered {ami} in {region}"));
    let artifact = Artifact {
        builder_id: "packer.post-processor.amazon-import".to_owned(),
        id: format!("{region}:{ami}"),
        text: format!("AMIs were created:\n{region}: {ami}\n"),
        files: Vec::new(),
        ownership: Ownership::Nothing,
    };
    Ok(Processed { artifact, keep_input: false, force_keep: false })
}

/// A name that no other import has.
fn default_name(context: &PostProcessContext) -> String {
    let name: String = context
        .source_name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .collect();
    format!("kiln-import-{name}-{}", jiff::Timestamp::now().as_second())
}

/// The image that is registered, by the options and by what the machine was.
fn image(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    name: String,
    virtual_size: u64,
) -> Result<Image, StepError> {
    let given = |name: &str| options.given(name).map(str::to_owned);
    let needed = virtual_size.div_ceil(1 << 30).max(1);
    let wanted = options.given_number("volume_size").and_then(|size| u64::try_from(size).ok());
    if let Some(wanted) = wanted.filter(|&wanted| wanted < needed) {
        let words = format!("volume_size is {wanted} GiB, and the disk has {needed}");
        return Err(StepError::new(words).with_hint("leave volume_size out, or make the disk smaller"));
    }
    let architecture = match context.architecture.as_str() {
        "arm64" => Some("arm64"),
        "amd64" => Some("x86_64"),
        _ => None,
    };
    let architecture = given("architecture")
        .or(architecture.map(str::to_owned))
        .ok_or_else(|| StepError::new(format!("EC2 has no machines of the architecture {}", context.architecture)))?;
    let is_uefi =
        context.machine.as_ref().is_some_and(|machine| machine.firmware != kiln_disk_formats::package::Firmware::Bios);
    let boot_mode = given("boot_mode").unwrap_or_else(|| {
        let mode = if is_uefi || architecture == "arm64" { "uefi" } else { "legacy-bios" };
        mode.to_owned()
    });
    Ok(Image {
        name,
        description: given("ami_description"),
        architecture,
        boot_mode,
        root_device: options.text("root_device_name").unwrap_or_default(),
        volume_size: needed,
        root_size: wanted.unwrap_or(needed),
        volume_type: options.text("volume_type").unwrap_or_default(),
        ena: options.flag("ena_support"),
        imds: given("imds_support"),
        tpm: given("tpm_support"),
        encrypted: options.flag("ami_encrypt"),
        kms_key: given("ami_kms_key"),
        tags: options.map("tags").into_iter().collect(),
        users: options.texts("ami_users"),
        groups: options.texts("ami_groups"),
        organizations: options.texts("ami_org_arns"),
        units: options.texts("ami_ou_arns"),
        snapshot_users: options.texts("snapshot_users"),
    })
}
