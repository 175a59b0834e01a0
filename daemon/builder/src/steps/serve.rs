//! Starts the HTTP server for the guest.

use std::net::IpAddr;
use std::sync::Arc;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::http_server::{HttpServer, HttpServerConfig, RequestLog};
use crate::plan::HttpPlan;

/// The address that guests are told where the network has none for this host: the one that the server listens on, unless that is
/// every address.
pub(crate) fn own_address(plan: &HttpPlan) -> Option<String> {
    let bind = plan.bind.as_deref()?;
    let address = if bind == "localhost" {
        plan.family.localhost().to_string()
    } else {
        bind.trim_matches(['[', ']']).to_owned()
    };
    (!address.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())).then_some(address)
}

/// Starts the server and stops it on clean-up; returns its port. `host` is the address of this host that guests reach.
pub(crate) async fn start(plan: &HttpPlan, host: Option<IpAddr>, context: &BuildContext) -> Result<u16, StepError> {
    if let (Some(bind), None, None) = (&plan.bind, host, own_address(plan)) {
        let error = format!(
            "the guest could not be told where the HTTP server is: it is to listen on every address ({bind}), and this host has no \
             IPv4 address on the guest's network"
        );
        return Err(StepError::new(error).with_hint(
            "give the bridge of net_bridge an address, or set http_bind_address to the address where guests reach this host",
        ));
    }
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
        family: plan.family,
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
