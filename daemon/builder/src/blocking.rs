//! Work that blocks (disks, hashes, keys), on threads where it may.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinError;

use crate::error::StepError;

/// The work panicked, which is a bug in Kiln.
#[derive(Debug, thiserror::Error)]
#[error("{what} ended abnormally")]
pub(crate) struct Abnormal {
    what: &'static str,
    #[source]
    source: JoinError,
}

/// Runs `work`, whose name in errors is `what`, off the runtime's threads.
///
/// Blocking work cannot be taken back. When the caller is dropped meanwhile, the flag that `work` is given becomes true, and whatever `work`
/// owns is let go when it has come to its end.
pub(crate) async fn blocking<T, E>(
    what: &'static str,
    work: impl FnOnce(&AtomicBool) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Abnormal> + Send + 'static,
{
    struct SetOnDrop(Arc<AtomicBool>);
    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let abandoned = SetOnDrop(Arc::default());
    let flag = Arc::clone(&abandoned.0);
    match tokio::task::spawn_blocking(move || work(&flag)).await {
        Ok(result) => result,
        Err(source) => Err(Abnormal { what, source }.into()),
    }
}

impl From<Abnormal> for io::Error {
    fn from(error: Abnormal) -> Self {
        Self::other(error)
    }
}

impl From<Abnormal> for StepError {
    fn from(error: Abnormal) -> Self {
        Self::wrap(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_and_failures_come_back() {
        let ten = blocking("counting", |_| Ok::<_, io::Error>(10)).await;
        assert_eq!(ten.unwrap(), 10);
        let failed: io::Result<()> = blocking("failing", |_| Err(io::ErrorKind::NotFound.into())).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_with_the_name_of_the_work() {
        let failed: Result<(), StepError> = blocking("making the disks", |_| panic!("a bug")).await;
        let text = failed.unwrap_err().to_string();
        assert!(text.starts_with("making the disks ended abnormally: ") && text.contains("a bug"), "{text}");
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_told_so() {
        let (began, begins) = tokio::sync::oneshot::channel();
        let (ended, ends) = tokio::sync::oneshot::channel();
        let work = blocking("waiting", move |abandoned| {
            began.send(()).unwrap();
            while !abandoned.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
            Ok::<_, io::Error>(())
        });
        tokio::select! {
            _ = work => panic!("nobody has told it to end"),
            begun = begins => begun.unwrap(),
        }
        ends.await.unwrap();
    }
}
