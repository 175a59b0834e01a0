//! Removing what was made in a service when the rest cannot be done.

use hyper::Method;

use super::super::context::PostProcessContext;
use super::api::Api;
use crate::cleanup::CleanupId;

/// Has what lies at `path` removed unless that is disarmed.
pub(super) fn undo(context: &PostProcessContext, api: &Api, what: String, path: String) -> CleanupId {
    let mut api = api.another();
    let build = context.build.clone();
    let words = what.clone();
    context.build.on_cleanup("post-process", what, move || async move {
        build.say(format!("Cleaning up: {words}"));
        let removed = api.ask(Method::DELETE, &path, None).await;
        // What never came to be is gone.
        removed.and_then(|answer| answer.success_or(&[404])).map(drop).map_err(|error| error.to_string())
    })
}
