//! Prepare: everything before there is a machine. Can be done again at any time.

use std::path::{Path, PathBuf};

use kiln_hypervisors::{HostSeenByGuest, Hypervisor};

use super::builder::Media;
use super::recipe::Recipe;
use super::work::WorkDirectories;
use crate::error::{BuildError, StepError};
use crate::export::{GuestDisk, refuse_existing};
use crate::plan::HttpPlan;
use crate::post_processors::export;
use crate::records::Output;
use crate::step::Step;
use crate::steps::access::Access;
use crate::steps::output_directory::Held;
use crate::steps::{image, media, output_directory, serve};

/// What the machine is started with.
pub(super) struct Prepared {
    /// The output directory, held against other builds; `None`: nothing goes there.
    pub(super) output: Option<Held>,
    pub(super) media: Media,
    /// The port of the HTTP server.
    pub(super) http_port: Option<u16>,
    /// The host as the guest sees it; empty when it has no address there and serves nothing.
    pub(super) host: String,
    /// What gets us into the guest.
    pub(super) access: Access,
}

impl Recipe<'_> {
    pub(super) async fn prepare(&self) -> Result<Prepared, BuildError> {
        let (context, plan) = (self.context, &self.plan);
        let goes_on = context.chain.goes_on();
        let made = |path: &PathBuf| Some(Output::Files { paths: vec![path.clone()] });
        self.look_first().await?;
        let image = match plan.image {
            Some(image) => {
                let fetching = || image::fetch(image, plan.image_noun, context);
                // A URL is no file, and may let its owner in.
                let fetched = |path: &PathBuf| made(path).filter(|_| !image.skip_cache);
                let path = context.run_step(Step::prepare("fetch"), fetched, fetching).await?;
                // It is fetched once.
                let _ = context.fetched.set(path.clone());
                Some(path)
            }
            None => None,
        };
        if let Some(image) = image.as_deref() {
            self.check_image(image).await?;
        }
        let output = self.output(goes_on).await?;
        let work = context.step(Step::prepare("work"), || WorkDirectories::make(self.index, context)).await?;
        let (mut floppy, mut cd) = (None, None);
        if let Some(files) = plan.floppy {
            let step = Step::prepare("media");
            floppy = Some(context.run_step(step, made, || media::floppy(files, &work.files, context)).await?);
        }
        if let Some(files) = plan.cd {
            let step = Step::prepare("media");
            cd = Some(context.run_step(step, made, || media::cd(files, &work.files, context)).await?);
        }
        let hypervisor = self.hypervisor()?;
        let tools = self.tools(hypervisor).await?;
        let media = Media { image, floppy, cd, tools, work: work.files.clone(), sockets: work.sockets };
        self.disks(&media, goes_on).await?;
        let host = hypervisor.host_seen_by_guest(&self.builder.network());
        let http_port = match plan.http {
            Some(http) => Some(self.serve(http, host.as_ref()).await?),
            None => None,
        };
        let host = host.map(|host| host.name).or_else(|| serve::own_address(plan.http?)).unwrap_or_default();
        let access = Access::prepare(plan.communicator, &work.files, &media.sockets, context).await?;
        Ok(Prepared { output, media, http_port, host, access })
    }

    /// Before hours are spent on a download: what the hypervisor would refuse when it is over. What was started before is its own, but has
    /// the step, for its steps have the numbers that they had.
    async fn look_first(&self) -> Result<(), BuildError> {
        let Some(draft) = self.builder.draft() else { return Ok(()) };
        let (hypervisor, goes_on) = (self.hypervisor()?, self.context.chain.goes_on());
        let looking =
            || async { if goes_on { Ok(()) } else { hypervisor.look_first(&draft).await.map_err(StepError::from) } };
        self.context.step(Step::prepare("look"), looking).await
    }

    /// What was looked at before keeps the step, as in [`Self::look_first`].
    async fn check_image(&self, image: &Path) -> Result<(), BuildError> {
        let context = self.context;
        let goes_on = context.chain.goes_on();
        if self.builder.check_image(image, context).is_none() {
            return Ok(());
        }
        let checking = || async {
            match self.builder.check_image(image, context).filter(|_| !goes_on) {
                Some(checking) => checking.await,
                None => Ok(()),
            }
        };
        context.step(Step::prepare("check"), checking).await
    }

    pub(super) fn hypervisor(&self) -> Result<&dyn Hypervisor, BuildError> {
        let hypervisor = self.backends.hypervisor(self.builder.hypervisor());
        hypervisor.map_err(|error| BuildError::new("start", error))
    }

    async fn tools(&self, hypervisor: &dyn Hypervisor) -> Result<Option<PathBuf>, BuildError> {
        let context = self.context;
        if self.builder.find_tools(hypervisor, context).is_none() {
            return Ok(None);
        }
        let found = |tools: &Option<PathBuf>| Some(Output::Files { paths: tools.iter().cloned().collect() });
        let finding = || async {
            match self.builder.find_tools(hypervisor, context) {
                Some(finding) => finding.await,
                None => Ok(None),
            }
        };
        context.run_step(Step::prepare("tools"), found, finding).await
    }

    async fn output(&self, goes_on: bool) -> Result<Option<Held>, BuildError> {
        let (context, directory) = (self.context, self.plan.output_directory);
        let own = self.builder.files();
        let taking = || async {
            self.refuse_exports()?;
            match (self.plan.leaves_files, goes_on) {
                (false, _) => Ok(None),
                (true, true) => output_directory::adopt(directory, &own, context).await.map(Some),
                (true, false) => output_directory::prepare(directory, &own, context).await.map(Some),
            }
        };
        context.step(Step::prepare("output"), taking).await
    }

    /// Refuses what an export would be refused for when the guest is done: that may be hours away. What its files are called is known
    /// unless the guest has a part in it.
    fn refuse_exports(&self) -> Result<(), StepError> {
        let (data, machine) = (self.planned.base_data(self.context), self.builder.describe());
        let directory = self.plan.output_directory;
        let Ok(exports) = export::planned(&self.planned.build.post_processors, &data, directory, &machine) else {
            return Ok(());
        };
        let place = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let own = place(directory);
        let paths = exports.iter().map(|output| output.path.as_path());
        let elsewhere = paths.filter(|path| place(path).parent() != Some(&*own));
        if self.context.settings.force { Ok(()) } else { refuse_existing(elsewhere) }
    }

    /// Disks, and what the firmware writes to. What a guest has written already is kept.
    async fn disks(&self, media: &Media, goes_on: bool) -> Result<(), BuildError> {
        let (context, builder) = (self.context, self.builder);
        let disks = |_: &()| Some(Output::Files { paths: builder.disks().into_iter().map(path_of).collect() });
        let making =
            || async { if goes_on { Ok(()) } else { builder.make_disks(media.image.as_deref(), context).await } };
        context.run_step(Step::prepare("disk"), disks, making).await?;
        let copying = || async { if goes_on { Ok(()) } else { builder.copy_firmware().await } };
        context.step(Step::prepare("firmware"), copying).await
    }

    /// The server of a build that goes on has the port that its guest was told. It listens where guests find the host, unless the
    /// template says where.
    async fn serve(&self, plan: &HttpPlan, host: Option<&HostSeenByGuest>) -> Result<u16, BuildError> {
        let mut plan = plan.clone();
        if let Some(Output::HttpServer { port }) = self.context.chain.left_by("serve") {
            (plan.port_min, plan.port_max) = (*port, *port);
        }
        let port = |&port: &u16| Some(Output::HttpServer { port });
        let host = host.map(|host| host.listen);
        self.context.run_step(Step::prepare("serve"), port, || serve::start(&plan, host, self.context)).await
    }
}

fn path_of(disk: GuestDisk) -> PathBuf {
    disk.path
}
