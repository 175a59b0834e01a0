//! Wakes readers when an events file grows or is replaced, by inotify: one descriptor for the whole daemon.
//!
//! It is the file's directory that is watched: a file that takes the place of another has no watch of its own yet. What happens to other
//! files there is rare, and who is woken for nothing finds nothing new.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::{as_owner, descriptor};

/// Time between two looks of one reader at a file that is written to without a pause.
pub(crate) const REST: Duration = Duration::from_millis(50);

/// Watches any number of files, each in a directory of its own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventWatcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inotify: AsyncFd<OwnedFd>,
    watches: Mutex<HashMap<i32, Watch>>,
}

#[derive(Debug)]
struct Watch {
    changes: watch::Sender<()>,
    subscriptions: usize,
}

/// Interest in one file; ends when dropped.
#[derive(Debug)]
pub struct Subscription {
    changes: watch::Receiver<()>,
    /// Before which nobody is woken again.
    rests_until: Instant,
    descriptor: i32,
    shared: Arc<Shared>,
}

impl EventWatcher {
    /// Opens inotify and starts the task that reads from it, on the present runtime.
    ///
    /// # Errors
    ///
    /// The user has used up the inotify instances (`fs.inotify.max_user_instances`).
    pub fn start() -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let shared = Arc::new(Shared { inotify: descriptor::watch(descriptor)?, watches: Mutex::default() });
        let task = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                if let Err(error) = task.dispatch().await {
                    tracing::error!(%error, "inotify failed: followers see new events at heartbeats only");
                    return;
                }
            }
        });
        Ok(Self { shared })
    }

    /// Subscribes to changes of a file. Changes from this moment on are noticed.
    ///
    /// # Errors
    ///
    /// Its directory is missing, or the user's watches are used up.
    pub fn subscribe(&self, path: &Path) -> io::Result<Subscription> {
        // The very directory, and nothing that somebody mounts on it meanwhile: nobody waits for that, least of all with the lock in hand.
        let opened = as_owner::open_directory(path.parent().unwrap_or(Path::new(".")))?;
        let directory = format!("/proc/self/fd/{}", opened.as_raw_fd());
        // Under the lock, so that a subscription that ends meanwhile does not remove the watch just asked for.
        let mut watches = self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let descriptor = inotify::add_watch(self.shared.inotify.get_ref(), &*directory, changes)?;
        let watch =
            watches.entry(descriptor).or_insert_with(|| Watch { changes: watch::Sender::new(()), subscriptions: 0 });
        watch.subscriptions += 1;
        let changes = watch.changes.subscribe();
        Ok(Subscription { changes, rests_until: Instant::now(), descriptor, shared: Arc::clone(&self.shared) })
    }
}

impl Shared {
    async fn dispatch(&self) -> io::Result<()> {
        let mut ready = self.inotify.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => self.notify(event.wd(), event.events()),
                Err(Errno::WOULDBLOCK) => {
                    ready.clear_ready();
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn notify(&self, descriptor: i32, events: ReadFlags) {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Nobody knows whose changes were dropped, so everybody looks.
            watches.values().for_each(|watch| watch.changes.send_modify(|()| {}));
        } else if let Some(watch) = watches.get(&descriptor) {
            watch.changes.send_modify(|()| {});
        }
    }
}

impl Subscription {
    /// Waits until the file has changed (or something beside it) since the last return: at once after a rest of `REST`, else at its end. However
    /// often a file is written to, it is not read more often. Cancel safe.
    pub async fn changed(&mut self) {
        sleep_until(self.rests_until).await;
        // The sender lives as long as this subscription is counted.
        let _ = self.changes.changed().await;
        self.rests_until = Instant::now() + REST;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut watches = self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = watches.get_mut(&self.descriptor) {
            watch.subscriptions -= 1;
            if watch.subscriptions == 0 {
                watches.remove(&self.descriptor);
                // Fails when the file is gone, and then the watch is gone too.
                let _ = inotify::remove_watch(self.shared.inotify.get_ref(), self.descriptor);
            }
        }
    }
}
