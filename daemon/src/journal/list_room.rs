//! How much a list of jobs holds: whoever asks for many gets their essentials, and not what each of their users and workers has had written.

use super::rows::{BuildRow, JobRow};

/// Text of paths, builds and errors in one list, in bytes. A thousand usual jobs have a quarter of it.
pub(super) const ROOM: usize = 8 << 20;

/// Text that every job has room for.
const ESSENTIAL: usize = 1 << 10;

/// What is left of the room.
pub(super) struct ListRoom(usize);

impl ListRoom {
    pub(super) fn new() -> Self {
        Self(ROOM)
    }

    /// Puts a job into the list, cut where it has no room.
    pub(super) fn take(&mut self, mut job: JobRow) -> JobRow {
        let paths = job.template.len() + job.working_directory.len();
        let error = job.error.as_ref().map_or(0, String::len);
        let size = paths + error + job.builds.iter().map(size_of_build).sum::<usize>();
        if size <= ESSENTIAL {
            return job;
        }
        if let Some(left) = self.0.checked_sub(size) {
            self.0 = left;
            return job;
        }
        // Their memory goes, too.
        job.builds = Vec::new();
        // Paths are short now, and were not always.
        [&mut job.template, &mut job.working_directory].into_iter().chain(&mut job.error).for_each(cut);
        job.is_cut = true;
        job
    }
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(ESSENTIAL));
    text.shrink_to_fit();
}

/// What a build is in memory, about.
fn size_of_build(build: &BuildRow) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let artifacts = build.artifacts.iter().map(|artifact| {
        let files: usize = artifact.files.iter().map(|file| file.len() + size_of::<String>()).sum();
        size_of_val(artifact) + artifact.builder_id.len() + artifact.id.len() + text(&artifact.text) + files
    });
    size_of_val(build) + build.name.len() + text(&build.step) + text(&build.error) + artifacts.sum::<usize>()
}
