//! Owns the builds of legacy templates: one for each builder.

use std::sync::Arc;
use std::time::Duration;

use super::parse::{self, Builder, Options, Provisioner as Written, Template};
use crate::components::component::Component;
use crate::components::config::{JsonBase, JsonConfig};
use crate::components::decode::json::weak_integer;
use crate::components::evaluated::{Evaluated, EvaluatedBuild, PostProcessor, Provisioner};
use crate::components::foreign::schema_of;
use crate::components::schema::{Catalog, ComponentType};
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go::duration::parse_go_duration;
use crate::go_template;
use crate::language::syntax::json::JsonKind;
use crate::world::inputs::Inputs;

/// Evaluates the builders that `-only` and `-except` select.
pub(super) fn evaluate(
    inputs: &Inputs,
    template: &Template,
    base: &Arc<JsonBase>,
    catalog: &dyn Catalog,
    diagnostics: &mut Diagnostics,
) -> Evaluated {
    let mut evaluated = Evaluated::default();
    let mut names: Vec<String> = Vec::new();
    for builder in &template.builders {
        let name = match go_template::render(&builder.name, &base.context()) {
            Ok(name) => name,
            Err(error) => {
                let detail = format!("The builder's name {:?} cannot be rendered: {error}.", builder.name);
                diagnostics.push(Diagnostic::error("Error interpolating a builder's name", detail).at(builder.span));
                continue;
            }
        };
        if names.contains(&name) {
            let detail = format!("There are two builders with the name {name:?}.");
            let diagnostic = Diagnostic::error("Duplicate builder", detail).at(builder.span);
            diagnostics.push(diagnostic.hint("give one of them another \"name\""));
            continue;
        }
        names.push(name.clone());
        let listed = |list: &[String]| list.contains(&name);
        if (!inputs.only.is_empty() && !listed(&inputs.only)) || listed(&inputs.except) {
            continue;
        }
        let build = Build { builder, name: &name, base, catalog, except: &inputs.except };
        build.evaluate(template, &mut evaluated, diagnostics);
    }
    evaluated.builds.sort_by(|left, right| left.source_name.cmp(&right.source_name));
    warn_unused(inputs, template, &names, diagnostics);
    evaluated
}

fn warn_unused(inputs: &Inputs, template: &Template, names: &[String], diagnostics: &mut Diagnostics) {
    let is_post_processor = |name: &String| template.post_processors.iter().flatten().any(|item| item.name == *name);
    for (flag, patterns) in [("-only", &inputs.only), ("-except", &inputs.except)] {
        for pattern in patterns.iter().filter(|pattern| !names.contains(pattern)) {
            if flag == "-except" && is_post_processor(pattern) {
                continue;
            }
            let detail = format!("{flag}={pattern} matched nothing; the builders are {}.", names.join(", "));
            // The console shows the kind before the name, which Packer does not take here either.
            let shown =
                pattern.split_once('.').map(|(_, name)| name).filter(|name| names.iter().any(|known| known == name));
            let hint =
                shown.map(|name| format!("builds of a JSON template go by the builder's name alone: {flag}={name}"));
            let hint = hint.or_else(|| did_you_mean(pattern, names.iter().map(String::as_str)));
            let diagnostic = Diagnostic::warning(format!("An option {flag} matched nothing"), detail);
            diagnostics.push(diagnostic.hint_maybe(hint));
        }
    }
}

/// A builder of which a build is made.
struct Build<'a> {
    builder: &'a Builder,
    /// Its name, rendered.
    name: &'a str,
    base: &'a Arc<JsonBase>,
    catalog: &'a dyn Catalog,
    /// What `-except` leaves out.
    except: &'a [String],
}

impl Build<'_> {
    /// Makes the build, or keeps its parts where it cannot be one.
    fn evaluate(&self, template: &Template, evaluated: &mut Evaluated, diagnostics: &mut Diagnostics) {
        let provisioners: Vec<Provisioner> =
            template.provisioners.iter().filter_map(|written| self.provisioner(written, diagnostics)).collect();
        let cleanup_provisioner = template.cleanup.as_ref().and_then(|written| self.provisioner(written, diagnostics));
        let mut post_processors: Vec<_> =
            template.post_processors.iter().map(|chain| self.sequence(chain, diagnostics)).collect();
        post_processors.retain(|chain| !chain.is_empty());
        let Builder { kind, span, options, .. } = self.builder;
        let Some(schema) = schema_of(self.catalog, ComponentType::Builder, kind, *span, diagnostics) else {
            return evaluated.orphan(provisioners.into_iter().chain(cleanup_provisioner), post_processors);
        };
        evaluated.builds.push(EvaluatedBuild {
            name: if self.name == kind { self.name.to_owned() } else { format!("{kind}.{}", self.name) },
            block_name: None,
            source_type: kind.clone(),
            source_name: self.name.to_owned(),
            source: Component::json(schema, *span, self.config(options.clone())),
            provisioners,
            cleanup_provisioner,
            post_processors,
        });
    }

    fn config(&self, options: Options) -> JsonConfig {
        JsonConfig {
            base: self.base.clone(),
            options,
            build_name: self.name.to_owned(),
            build_type: self.builder.kind.clone(),
        }
    }

    /// Makes a provisioner; nothing where this builder does not get it.
    fn provisioner(&self, written: &Written, diagnostics: &mut Diagnostics) -> Option<Provisioner> {
        if !written.selection.includes(&self.builder.name) {
            return None;
        }
        let schema = schema_of(self.catalog, ComponentType::Provisioner, &written.kind, written.span, diagnostics)?;
        let mut options = written.options.clone();
        for (_, changes) in written.overrides.iter().filter(|(key, _)| *key.text == *self.builder.name) {
            for (key, value) in changes {
                options.retain(|(known, _)| known.text != key.text);
                options.push((key.clone(), value.clone()));
            }
        }
        let mut made = Provisioner {
            component: Component::json(schema, written.span, self.config(options)),
            name: None,
            pause_before: Duration::ZERO,
            timeout: None,
            max_retries: 0,
            continue_on_error: false,
        };
        wrapper(&mut made, written, self.base, diagnostics);
        Some(made)
    }

    /// Makes one post-processor sequence; an empty one when none of it is left.
    fn sequence(&self, chain: &[parse::PostProcessor], diagnostics: &mut Diagnostics) -> Vec<PostProcessor> {
        let mut made = Vec::new();
        for written in chain.iter().filter(|written| written.selection.includes(&self.builder.name)) {
            if self.except.contains(&written.name) {
                break;
            }
            let kind = ComponentType::PostProcessor;
            let Some(schema) = schema_of(self.catalog, kind, &written.kind, written.span, diagnostics) else {
                continue;
            };
            made.push(PostProcessor {
                component: Component::json(schema, written.span, self.config(written.options.clone())),
                name: Some(written.name.clone()),
                keep_input_artifact: written.keep_input_artifact,
            });
        }
        made
    }
}

/// Reads `pause_before`, `timeout` and `max_retries`.
fn wrapper(made: &mut Provisioner, written: &Written, base: &JsonBase, diagnostics: &mut Diagnostics) {
    for (key, value) in &written.wrapper {
        let mut text = match &value.kind {
            JsonKind::String(text) => text.clone(),
            // A bare number is nanoseconds, as Go decodes it.
            JsonKind::Number(number) if &*key.text != "max_retries" => format!("{number}ns"),
            JsonKind::Number(number) => number.to_string(),
            JsonKind::Null => continue,
            _ => {
                let detail = format!("{:?} must be a string, not {}.", key.text, value.noun());
                diagnostics.push(Diagnostic::error("Wrong type", detail).at(value.span));
                continue;
            }
        };
        match go_template::render(&text, &base.context()) {
            Ok(rendered) => text = rendered,
            Err(error) => {
                let detail = format!("{:?} cannot be rendered: {error}.", key.text);
                diagnostics.push(Diagnostic::error("Error interpolating an option", detail).at(value.span));
                continue;
            }
        }
        if &*key.text == "max_retries" {
            match weak_integer(&text).and_then(|count| u32::try_from(count).ok()) {
                Some(count) => made.max_retries = count,
                None => {
                    let detail = format!("max_retries must be a whole number, not {text:?}.");
                    diagnostics.push(Diagnostic::error("Wrong type", detail).at(value.span));
                }
            }
            continue;
        }
        match parse_go_duration(&text) {
            Ok(duration) => {
                let duration = Duration::try_from(duration).unwrap_or(Duration::ZERO);
                if &*key.text == "timeout" { made.timeout = Some(duration) } else { made.pause_before = duration }
            }
            Err(_) if text.is_empty() => {}
            Err(error) => {
                let detail = format!("Error decoding '{}': {error}.", key.text);
                let diagnostic = Diagnostic::error("Invalid duration", detail).at(value.span);
                diagnostics.push(diagnostic.hint("durations need a unit: \"90s\", \"5m\", \"1h30m\""));
            }
        }
    }
}
