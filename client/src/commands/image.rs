//! `kiln image`: looks at images, with qemu-img's JSON and exit codes.

use std::io::Write as _;

use kiln_protocol::{
    CheckRequest, CompareRequest, ImageResult, ImageTask, InfoRequest, MapExtent, MapRequest, VerifyRequest,
};
use serde::Serialize;

use super::context::Context;
use super::convert::source;
use super::task;
use crate::arguments::ImageCommand;
use crate::error::CommandError;
use crate::render::Results;
use crate::terminal;

/// Exit code of a comparison that could not be made.
const COMPARE_ERROR: u8 = 2;

pub(super) async fn image(context: Context, command: ImageCommand) -> Result<u8, CommandError> {
    let (request, json, quiet) = match command {
        ImageCommand::Info { source: flags, output, backing_chain, image } => {
            let request = InfoRequest { image: source(image, &flags), backing_chain };
            return show(&context, ImageTask::Info(request), output.json(), false, backing_chain).await;
        }
        ImageCommand::Map { source: flags, output, start_offset, max_length, image } => {
            let image = source(image, &flags);
            let request = MapRequest { image, start: start_offset, length: max_length };
            (ImageTask::Map(request), output.json(), false)
        }
        ImageCommand::Check { format, output, quiet, image, repair, .. } => {
            repair.refuse()?;
            (ImageTask::Check(CheckRequest { path: image, format }), output.json(), quiet)
        }
        ImageCommand::Compare { source: flags, second_format, output, strict, quiet, left, right, .. } => {
            let (left, mut right) = (source(left, &flags), source(right, &flags));
            right.format = second_format;
            let request = ImageTask::Compare(CompareRequest { left, right, strict });
            let shown = show(&context, request, output.json(), quiet, false).await;
            return shown.map_err(|error| error.exit_code(COMPARE_ERROR));
        }
        ImageCommand::Verify { output, path } => (ImageTask::Verify(VerifyRequest { path }), output.json(), false),
    };
    show(&context, request, json, quiet, false).await
}

/// Has the task done and prints its result.
async fn show(context: &Context, task: ImageTask, json: bool, quiet: bool, list: bool) -> Result<u8, CommandError> {
    let is_compare = matches!(task, ImageTask::Compare(_));
    let done = task::run(context, task, quiet, None).await?;
    if json {
        print_json(done.results, list)?;
    } else if !quiet {
        let mut stdout = terminal::stdout();
        let mut results = Results::default();
        for result in &done.results {
            write!(stdout, "{}", results.describe(result))?;
        }
    }
    // A worker that was killed has compared nothing.
    Ok(if is_compare && done.failed { COMPARE_ERROR } else { done.exit_code })
}

fn print_json(results: Vec<ImageResult>, list: bool) -> Result<(), CommandError> {
    let mut map: Option<Vec<MapExtent>> = None;
    for result in results {
        match result {
            // A package of several disks is a list too.
            ImageResult::Info { images } if list || images.len() > 1 => print(&images)?,
            ImageResult::Info { images } => images.first().map_or(Ok(()), print)?,
            ImageResult::Map { extents } => map.get_or_insert_default().extend(extents),
            ImageResult::Check(result) => print(&result)?,
            ImageResult::Compare(result) => print(&result)?,
            ImageResult::Verify { files } => print(&files)?,
            _ => {}
        }
    }
    map.as_ref().map_or(Ok(()), print)
}

fn print(value: &impl Serialize) -> Result<(), CommandError> {
    terminal::print_json(value)
}
