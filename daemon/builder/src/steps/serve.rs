//! Starts the HTTP server for the guest.

use std::net::IpAddr;
use std::sync::Arc;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::http_server::{HttpServer, HttpServerConfig, RequestLog};
use crate::plan::HttpPlan;

/// Starts the server and stops it on clean-up; returns its port. `host` is the address of this host that guests reach.
pub(crate) async fn start(plan: &HttpPlan, host: Option<IpAddr>, context: &BuildContext) -> Result<u16, StepError> {
    let bind = plan.bind.clone().or_else(|| host.map(|host| host.to_string()));
    let bind = bind.ok_or_else(|| {
        StepError::new(
            "the guest could not reach the HTTP server: this host has no IPv4 address on the guest's network",
        )
        .with_hint("give the bridge of net_bridge an address, or say with http_bind_address where to listen")
    })?;
    let reporter = context.clone();
    let config = HttpServerConfig {
        directory: plan.directory.clone(),
        content: plan.content.clone(),
        bind,
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
