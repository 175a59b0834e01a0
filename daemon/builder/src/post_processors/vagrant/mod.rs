//! The vagrant post-processor: a box, made without Vagrant and without the hypervisor.
//!
//! ```text
//! metadata.json   which provider, which disks
//! Vagrantfile     what the provider needs, then the template's own
//! …               what `include` names
//! …               the machine's files (content)
//! ```

mod content;
mod provider;
mod settings;
mod work_directory;

use std::io;
use std::path::{Path, PathBuf};

use kiln_template::Options;

use self::content::Content;
use self::provider::Provider;
use self::settings::Settings;
use self::work_directory::WorkDirectory;
use super::context::{PostProcessContext, Processed, base_name};
use super::new_file;
use crate::archive::{self, Member, Work};
use crate::artifact::{Artifact, Ownership};
use crate::blocking::blocking;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

/// What `output` is rendered with.
pub(crate) const FIELDS: &[&str] = &["BuildName", "Provider", "Architecture", "ArtifactId"];

/// Packer's words for providers.
pub(crate) const WORDS: &[&str] = &[
    "virtualbox",
    "vmware",
    "libvirt",
    "parallels",
    "hyperv",
    "docker",
    "lxc",
    "aws",
    "google",
    "azure",
    "digitalocean",
    "scaleway",
    "file",
];

/// The providers that boxes are made for.
pub(crate) const PROVIDERS: [&str; 5] = ["virtualbox", "vmware", "libvirt", "docker", "file"];

const METADATA: &str = "metadata.json";

const VAGRANTFILE: &str = "Vagrantfile";

/// A Vagrantfile that is larger is none.
const MAX_VAGRANTFILE: u64 = 16 << 20;

pub(crate) async fn run(
    context: &PostProcessContext,
    values: OptionValues<'_>,
    options: &Options,
    renderer: &Renderer,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let provider = settings::provider(values, &input.builder_id)?;
    let settings = Settings::read(values, options, provider);
    let architecture = settings.architecture.clone().unwrap_or_else(|| context.architecture.clone());
    refuse_foreign(context, provider)?;
    let fields = [
        ("BuildName", context.source_name.as_str()),
        ("Provider", provider.word()),
        ("Architecture", &architecture),
        ("ArtifactId", &input.id),
    ];
    let output = PathBuf::from(renderer.render(&settings.output, &fields)?);
    new_file::refuse_input(&output, input)?;
    context.build.say(format!("Creating Vagrant box for '{}' provider", provider.word()));
    let work = WorkDirectory::beside(&output, &context.build.ledger)
        .map_err(|error| StepError::new("cannot make a directory for the box's files").with_source(error))?;
    let custom = match &settings.template {
        Some(path) => {
            context.build.message(format!("Using custom Vagrantfile: {path}"));
            renderer.render(&read_template(path).await?, &fields)?
        }
        None => String::new(),
    };
    let content = content::make(context, provider, input, work.path()).await?;
    let vagrantfile = vagrantfile(&provider.vagrantfile(&content.mac, context.driver), &custom);
    let metadata = provider.metadata(&content.disks, &architecture);
    let members = members(work.path(), &settings.include, &vagrantfile, &metadata, content)?;
    pack(context, &settings, &output, members).await?;
    let artifact = Artifact {
        builder_id: "mitchellh.post-processor.vagrant".to_owned(),
        id: provider.word().to_owned(),
        text: format!("'{}' provider box: {}", provider.word(), output.display()),
        ownership: Ownership::Files(vec![output.clone()]),
        files: vec![output],
    };
    Ok(Processed { artifact, keep_input: false, force_keep: false })
}

/// A package describes a PC.
fn refuse_foreign(context: &PostProcessContext, provider: Provider) -> Result<(), StepError> {
    let is_package = matches!(provider, Provider::VirtualBox | Provider::Vmware);
    if !is_package || context.is_pc {
        return Ok(());
    }
    let words = format!("a box for {} is of a PC, and the machine is not one", provider.word());
    Err(StepError::new(words).with_hint("make a box for libvirt"))
}

async fn read_template(path: &str) -> Result<String, StepError> {
    let from = PathBuf::from(path);
    let reading = blocking("reading the Vagrantfile", move |_| {
        let length = from.metadata()?.len();
        if length > MAX_VAGRANTFILE {
            return Err(io::Error::other(format!("it has {length} bytes, too many for a Vagrantfile")));
        }
        std::fs::read_to_string(&from)
    });
    reading.await.map_err(|error| StepError::new(format!("cannot read {path}")).with_source(error))
}

/// The provider's part, and the template's, which may change it.
fn vagrantfile(provider: &str, custom: &str) -> String {
    format!(
        "# What the box's provider needs, by the vagrant post-processor of Kiln.\n{provider}\n# What the template adds \
         (vagrantfile_template).\n{custom}"
    )
}

/// Everything in the box, Vagrant's own files first. A `metadata.json` that the template includes stands in the place of ours.
fn members(
    work: &Path,
    include: &[String],
    vagrantfile: &str,
    metadata: &serde_json::Value,
    content: Content,
) -> Result<Vec<Member>, StepError> {
    let mut members: Vec<Member> = Vec::new();
    let included: Vec<Member> =
        include.iter().map(|path| Member { name: base_name(Path::new(path)).into(), file: path.into() }).collect();
    let text = |name: &str, text: &str| {
        let file = work.join(format!("{name}.text"));
        let written = std::fs::write(&file, text).map(|()| Member { name: name.into(), file });
        written.map_err(|error| StepError::new(format!("cannot write {name}")).with_source(error))
    };
    if !included.iter().any(|member| member.name == METADATA) {
        members.push(text(METADATA, &format!("{metadata}\n"))?);
    }
    members.push(text(VAGRANTFILE, vagrantfile)?);
    for member in included.into_iter().chain(content.members) {
        if let Some(other) = members.iter().find(|other| other.name == member.name) {
            let words = format!("the box would hold {} twice: {}", other.name.display(), member.file.display());
            return Err(StepError::new(words).with_hint("give the file that `include` names another name"));
        }
        members.push(member);
    }
    Ok(members)
}

async fn pack(
    context: &PostProcessContext,
    settings: &Settings,
    output: &Path,
    members: Vec<Member>,
) -> Result<(), StepError> {
    for member in &members {
        context.build.message(format!("Packing: {}", member.name.display()));
    }
    let total: u64 =
        members.iter().filter_map(|member| member.file.metadata().ok()).map(|metadata| metadata.len()).sum();
    let (reporter, codec) = (context.build.clone(), settings.codec);
    new_file::write(context, output, move |file, abandoned| {
        let progress = |done| reporter.progress("pack the box", done, Some(total));
        let mut work = Work::new(abandoned, &progress);
        archive::pack(codec, file, &mut |to| archive::write_tar(&members, &mut work, to)).map(drop)
    })
    .await
}
