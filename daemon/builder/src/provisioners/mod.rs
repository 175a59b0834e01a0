//! Provisioners: what is done inside the guest (or beside it) once it is reachable.

mod ansible;
mod ansible_local;
mod breakpoint;
mod chef;
mod context;
mod file;
mod guest_command;
#[cfg(test)]
mod harness;
mod pause_after;
mod puppet;
mod reboot;
mod sbom;
mod shell;
mod sleep;
mod staging;
mod windows;

use kiln_hypervisors::Machine;
use kiln_template::{GoDuration, Provisioner};

pub(crate) use self::context::ProvisionContext;
use crate::error::StepError;
use crate::generated::{self, Renderer};
use crate::option_values::OptionValues;
use crate::scripts::ShellLocal;
use crate::steps::unreachable;

/// Whether provisioners of a kind work in the guest; the others work on this machine alone.
pub(crate) fn needs_guest(kind: &str) -> bool {
    !matches!(kind, "shell-local" | "breakpoint" | "sleep")
}

/// One provisioner, in the guest on `machine`, with its pause, time limit, retries and `continue_on_error`; the template calls its block `block`.
pub(crate) async fn run(
    context: &ProvisionContext,
    block: &str,
    provisioner: &Provisioner,
    machine: Option<&dyn Machine>,
) -> Result<(), StepError> {
    let mut tries_left = provisioner.max_retries;
    loop {
        let Err(error) = attempt(context, provisioner).await else { return Ok(()) };
        let error = match context.build.place(block, &provisioner.component) {
            Some(place) => error.at(place),
            None => error,
        };
        if tries_left == 0 {
            if provisioner.max_retries > 0 {
                context.build.say("retry limit reached.");
            }
            let error = unreachable::explain_loss(error, context.communicator_kind(), machine, &context.build).await;
            if provisioner.continue_on_error {
                context.build.error(format!(
                    "Warning: Provisioner failed with {:?}, but continue_on_error is set; continuing the build.",
                    error.to_string()
                ));
                error.explanation().iter().for_each(|line| context.build.error(line));
                return Ok(());
            }
            return Err(error);
        }
        context
            .build
            .say(format!("Provisioner failed with {:?}, retrying with {tries_left} trie(s) left", error.to_string()));
        tries_left -= 1;
    }
}

async fn attempt(context: &ProvisionContext, provisioner: &Provisioner) -> Result<(), StepError> {
    let pause = provisioner.pause_before;
    if !pause.is_zero() {
        context.build.say(format!("Pausing {} before the next provisioner...", GoDuration(pause)));
        let _wait = context.build.waiting("pause before the next provisioner", Some(pause));
        tokio::time::sleep(pause).await;
    }
    let timeout = provisioner.timeout.filter(|timeout| !timeout.is_zero());
    let _wait = context.build.waiting(&format!("{} provisioner", provisioner.component.kind), timeout);
    let Some(timeout) = timeout else { return run_kind(context, provisioner).await };
    context.build.say(format!("Setting a {} timeout for the next provisioner...", GoDuration(timeout)));
    match tokio::time::timeout(timeout, run_kind(context, provisioner)).await {
        Ok(result) => result,
        Err(_) => {
            context.build.say("Cancelling provisioner after a timeout...");
            let kind = &provisioner.component.kind;
            Err(StepError::new(format!("the {kind} provisioner did not end within {}", GoDuration(timeout)))
                .with_hint("raise the provisioner's timeout, or find out what it waits for with `kiln screen`")
                .lost_when(context.build.sightings.is_lost()))
        }
    }
}

async fn run_kind(context: &ProvisionContext, provisioner: &Provisioner) -> Result<(), StepError> {
    let component = &provisioner.component;
    let values = generated::values(&context.data);
    let (options, diagnostics) = component.decode(&values);
    let Some(options) = options.filter(|_| !diagnostics.has_errors()) else {
        return Err(StepError::new(generated::flatten(&diagnostics)));
    };
    let renderer = Renderer::new(component, &values);
    let options = OptionValues::new(&options, component.schema());
    match component.kind.as_str() {
        // Those of a post-processor are scripts too.
        "shell" | "verify" => shell::run(context, options, &renderer).await,
        "shell-local" => {
            let (build, data, renderer) = (&context.build, &*context.data, &renderer);
            ShellLocal { build, data, renderer }.run(options).await
        }
        "ansible" => ansible::run(context, options, &renderer).await,
        "ansible-local" => ansible_local::run(context, options, &renderer).await,
        "puppet-masterless" => puppet::masterless(context, options, &renderer).await,
        "puppet-server" => puppet::server(context, options, &renderer).await,
        "chef-solo" => chef::solo(context, options, &renderer).await,
        "chef-client" => chef::client(context, options, &renderer).await,
        "powershell" => windows::powershell::run(context, options, &renderer).await,
        "windows-shell" => windows::shell::run(context, options, &renderer).await,
        "windows-restart" => windows::restart::run(context, options).await,
        "sbom" => sbom::run(context, options).await,
        "reboot" => reboot::run(context, options, &renderer).await,
        "file" => file::run(context, options).await,
        "breakpoint" => breakpoint::run(context, options).await,
        "sleep" => sleep::run(context, options).await,
        other => Err(StepError::new(format!("there is no {other} provisioner in this version of Kiln"))),
    }
}
