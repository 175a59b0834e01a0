//! `kiln init` and `kiln plugins`: what is built in, and whether it is what a template asks for.

use std::io::Write as _;

use kiln_template::{
    BUILT_IN_PLUGINS, BuiltInPlugin, Diagnostic, PluginRequirement, RequiredPlugins, built_in_plugin, did_you_mean,
    is_hcl2, required_plugins,
};
use serde_json::{Value, json};

use super::input::Template;
use super::report::{EXIT_FAILURE, print_json, say, tell};
use crate::arguments::{InitArguments, PluginsCommand, TemplateFlags};
use crate::error::CommandError;
use crate::terminal;

pub(super) fn init(arguments: InitArguments, machine_readable: bool) -> Result<u8, CommandError> {
    let mut found = requirements(arguments.template_flags, &arguments.template, "`kiln init`")?;
    for plugin in &found.plugins {
        found.diagnostics.extend(missing(plugin));
    }
    for plugin in found.plugins.iter().filter_map(|plugin| built_in_plugin(&plugin.source)) {
        say(&format!("{}: built in, as of version {}", plugin.source, plugin.version), machine_readable)?;
    }
    tell(&found.diagnostics, &found.sources, machine_readable)?;
    if found.plugins.is_empty() && !found.diagnostics.has_errors() {
        say("The template requires no plugins. There is nothing to do.", machine_readable)?;
    }
    Ok(if found.diagnostics.has_errors() { EXIT_FAILURE } else { 0 })
}

pub(super) fn plugins(command: PluginsCommand, machine_readable: bool) -> Result<u8, CommandError> {
    match command {
        PluginsCommand::Installed { json, .. } => installed(json),
        PluginsCommand::Required { template_flags, json, template } => {
            let found = requirements(template_flags, &template, "`kiln plugins required`")?;
            required(&found, json, machine_readable)
        }
        PluginsCommand::Install { path: Some(path), .. } => {
            Err(CommandError::new(format!("Kiln runs no plugins, so {} cannot be installed", path.display()))
                .hint(available()))
        }
        PluginsCommand::Install { source, constraint, .. } => install(&source, constraint.as_deref()),
        PluginsCommand::Remove { source, .. } => {
            let what = if built_in_plugin(&source).is_some() { "is built in" } else { "is not here" };
            Err(CommandError::new(format!("{source} {what}; there is nothing to remove")).hint(available()))
        }
    }
}

/// Reads what a template requires.
fn requirements(flags: TemplateFlags, path: &std::path::Path, command: &str) -> Result<RequiredPlugins, CommandError> {
    let template = Template::new(flags, path)?;
    let exists = template.files.exists(&template.inputs.cwd.join(&template.inputs.path));
    if exists && !is_hcl2(&template.inputs, &*template.files) {
        let error = format!("{command} works on HCL2 templates; JSON templates cannot require plugins");
        return Err(CommandError::new(error).hint("`kiln hcl2_upgrade` turns a JSON template into HCL2"));
    }
    Ok(required_plugins(&template.inputs, &template.files))
}

/// Says what is in the way of a requirement, if anything is. It is a warning: other builds of the template may run all the
/// same, and a build that needs what is missing is refused with its place.
fn missing(plugin: &PluginRequirement) -> Option<Diagnostic> {
    let Some(built_in) = built_in_plugin(&plugin.source) else {
        let detail = format!(
            "The plugin {} is not built in, and Kiln runs no plugins. Builds that use it are refused. Built in: {}.",
            plugin.source,
            sources().join(", ")
        );
        // By the name alone: the long part before it is alike in all.
        let name = |source: &'static str| source.rsplit('/').next().unwrap_or(source);
        let hint = did_you_mean(plugin.source.rsplit('/').next().unwrap_or_default(), sources().into_iter().map(name));
        let hint = hint.unwrap_or_else(|| "select the builds that run on this machine with -only".to_owned());
        return Some(Diagnostic::warning("Plugin not available", detail).at(plugin.span).hint(hint));
    };
    if built_in.satisfies(&plugin.version) {
        return None;
    }
    let detail = format!(
        "The template asks for {} {}. What is built in behaves as version {}, whatever the template asks for.",
        plugin.source, plugin.version, built_in.version
    );
    Some(Diagnostic::warning("Another plugin version", detail).at(plugin.span))
}

fn sources() -> Vec<&'static str> {
    BUILT_IN_PLUGINS.iter().map(|plugin| plugin.source).collect()
}

fn available() -> String {
    format!("built in: {}, and Packer's own components", sources().join(", "))
}

fn components(plugin: &BuiltInPlugin) -> Vec<Value> {
    plugin.components.iter().map(|(kind, name)| json!({ "kind": kind.noun(), "name": name })).collect()
}

fn installed(as_json: bool) -> Result<u8, CommandError> {
    let mut stdout = terminal::stdout();
    if as_json {
        let plugins = BUILT_IN_PLUGINS.iter().map(
            |plugin| json!({ "source": plugin.source, "version": plugin.version, "components": components(plugin) }),
        );
        let object = json!({ "plugins": plugins.collect::<Vec<_>>() });
        terminal::print_json(&object)?;
        return Ok(0);
    }
    for plugin in BUILT_IN_PLUGINS {
        writeln!(stdout, "{} v{} (built in)", plugin.source, plugin.version)?;
    }
    Ok(0)
}

fn required(found: &RequiredPlugins, as_json: bool, machine_readable: bool) -> Result<u8, CommandError> {
    let code = if found.diagnostics.has_errors() { EXIT_FAILURE } else { 0 };
    if as_json {
        let plugins = found.plugins.iter().map(|plugin| {
            let built_in = built_in_plugin(&plugin.source);
            json!({
                "name": plugin.name,
                "source": plugin.source,
                "version": plugin.version,
                "built_in": built_in.map(|plugin| plugin.version),
                "satisfied": built_in.is_some_and(|built_in| built_in.satisfies(&plugin.version)),
            })
        });
        print_json(json!({ "plugins": plugins.collect::<Vec<_>>() }), &found.diagnostics, &found.sources)?;
        return Ok(code);
    }
    tell(&found.diagnostics, &found.sources, machine_readable)?;
    for plugin in &found.plugins {
        let state = match built_in_plugin(&plugin.source) {
            Some(built_in) => format!("built in v{}", built_in.version),
            None => "not available".to_owned(),
        };
        say(&format!("{} {} {:?} [{state}]", plugin.name, plugin.source, plugin.version), machine_readable)?;
    }
    Ok(code)
}

fn install(source: &str, constraint: Option<&str>) -> Result<u8, CommandError> {
    let Some(plugin) = built_in_plugin(source) else {
        let hint = did_you_mean(source, sources()).unwrap_or_else(available);
        return Err(CommandError::new(format!("{source} is not built in, and Kiln runs no plugins")).hint(hint));
    };
    if let Some(constraint) = constraint.filter(|constraint| !plugin.satisfies(constraint)) {
        let error = format!("{source} is built in as of version {}, which is not {constraint}", plugin.version);
        return Err(CommandError::new(error));
    }
    writeln!(terminal::stdout(), "{}: built in, as of version {}", plugin.source, plugin.version)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All sources begin alike, which makes no other plugin a likely meaning.
    #[test]
    fn plugins_are_meant_by_their_own_names() {
        let hint = |source: &str| {
            let span = kiln_template::Span::default();
            let plugin = PluginRequirement { name: "x".into(), source: source.into(), version: "1".into(), span };
            missing(&plugin).unwrap().hint.unwrap_or_default()
        };
        assert_eq!(hint("github.com/hashicorp/anisble"), "did you mean \"ansible\"?");
        assert!(!hint("github.com/hashicorp/docker").contains("did you mean"));
    }
}
