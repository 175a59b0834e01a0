//! Starts the HTTP server for the guest.

use std::sync::Arc;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::http_server::{HttpServer, HttpServerConfig, RequestLog};
use crate::plan::HttpPlan;

/// Starts the server and stops it on clean-up; returns its port.
pub(crate) async fn start(plan: &HttpPlan, context: &BuildContext) -> Result<u16, StepError> {
    let reporter = context.clone();
    let config = HttpServerConfig {
        directory: plan.directory.clone(),
        content: plan.content.clone(),
        bind: plan.bind.clone(),
        port_min: plan.port_min,
        port_max: plan.port_max,
        on_request: Arc::new(move |request: RequestLog| {
            reporter.sightings.request(&request);
            reporter.say(format!("The guest fetched {request}"));
        }),
    };
    let server = HttpServer::start(config).await?;
    let port = server.port();
    context.say(format!("Starting HTTP server on port {port}"));
    context.on_cleanup("serve", "stop the HTTP server", move || async move {
        server.stop().await;
        Ok(())
    });
    Ok(port)
}
