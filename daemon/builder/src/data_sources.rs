//! What `data` sources ask of the world: HTTP requests, with the transport that downloads use, and images of earlier builds.

use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use kiln_template::{DataSources, HttpRequest, HttpResponse, KnownImage};
use tokio::runtime::{Builder, Runtime};

use crate::context::EventSink;
use crate::event::Event;
use crate::fetch;
use crate::image_registry::ImageRegistry;

/// Answers to `data "http"`. Blocks, so it belongs on a thread where that is allowed.
pub(crate) struct HttpSources {
    /// Told who is waited for. No build is known yet.
    sink: EventSink,
    /// What was in URLs and lets its owner in.
    secrets: Mutex<Vec<String>>,
    /// Made for the first request; most templates have none.
    runtime: OnceLock<Result<Runtime, String>>,
}

impl HttpSources {
    pub(crate) fn new(sink: EventSink) -> Self {
        Self { sink, secrets: Mutex::default(), runtime: OnceLock::new() }
    }

    /// The secrets in the URLs that were asked for: problems quote them.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.known_secrets().clone()
    }

    fn known_secrets(&self) -> MutexGuard<'_, Vec<String>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who is waited for, until what is returned goes. There is no limit for the whole, only for each silence of the server.
    fn waiting(&self, request: &HttpRequest) -> Asked<'_> {
        let what = format!("{}: asking {}", request.asker, fetch::shown(&request.asked));
        (self.sink)(Event::Waiting { build: None, what: what.clone(), limit: None });
        Asked { sink: &self.sink, what }
    }
}

/// A server that is waited for.
struct Asked<'a> {
    sink: &'a EventSink,
    what: String,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        (self.sink)(Event::WaitFinished { build: None, what: std::mem::take(&mut self.what) });
    }
}

impl DataSources for HttpSources {
    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, String> {
        self.known_secrets().extend(fetch::secrets_in(&request.url));
        let _waiting = self.waiting(request);
        let start = || Builder::new_current_thread().enable_all().build().map_err(|error: io::Error| error.to_string());
        let runtime = self.runtime.get_or_init(start).as_ref().map_err(Clone::clone)?;
        let (body, headers) = runtime
            .block_on(fetch::ask(&request.method, &request.url, &request.headers, request.body.as_deref()))
            .map_err(|error| fetch::with_causes(&error))?;
        Ok(HttpResponse { body, headers })
    }

    fn image(&self, name: &str, channel: &str) -> Result<KnownImage, String> {
        let registry = ImageRegistry::of_user().ok_or("a user without a home has no images: set HOME")?;
        let record = registry.find(name, channel)?;
        let path = record.path.to_str().ok_or_else(|| format!("{} is not UTF-8", record.path.display()))?.to_owned();
        let (format, checksum, size) = (record.format, record.checksum, record.size);
        Ok(KnownImage {
            path,
            format,
            checksum,
            size,
            build: record.build,
            run_uuid: record.run_uuid,
            created: record.created,
        })
    }
}

impl Drop for HttpSources {
    /// What was loaded may be let go of where blocking is not allowed, and a runtime's own way to end blocks.
    fn drop(&mut self) {
        if let Some(Ok(runtime)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
