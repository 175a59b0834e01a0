//! `kiln screen`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::context::{Context, find_job};
use crate::arguments::ScreenArguments;
use crate::error::CommandError;
use crate::terminal;

pub(super) async fn screen(context: Context, arguments: ScreenArguments) -> Result<u8, CommandError> {
    let id = find_job(&context.client, &arguments.job).await?;
    let picture = context.client.screen(&id, arguments.build.as_deref()).await?;
    let mut stdout = terminal::raw_stdout();
    let path = match arguments.output {
        Some(path) if path == Path::new("-") => None,
        Some(path) => Some(path),
        // A terminal shows no PNG.
        None if terminal::is_watched() => Some(PathBuf::from(format!("kiln-{id}.png"))),
        None => None,
    };
    match path {
        Some(path) => {
            save(&path, &picture)?;
            writeln!(terminal::stdout(), "{}", path.display())?;
        }
        None => {
            stdout.write_all(&picture)?;
            stdout.flush()?;
        }
    }
    Ok(0)
}

/// Writes the file so that it is there as a whole or not at all.
fn save(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        // What is there of it is of no use to anybody.
        let _ = std::fs::remove_file(&temporary);
        CommandError::new(format!("cannot write {}: {error}", path.display()))
    })
}
