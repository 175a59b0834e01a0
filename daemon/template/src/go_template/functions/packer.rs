//! Owns Packer's functions.

use super::arguments::{Answer, Arguments};
use crate::diagnostics::suggest::did_you_mean;
use crate::go::{strings, time_layout};
use crate::go_template::context::Context;
use crate::go_template::value::Value;
use crate::go_template::version::PACKER_VERSION;
use crate::world::data::{DataMode, UNKNOWN};
use crate::world::secret_stores;

/// What one is: arguments and what a template can refer to → answer.
type Function = fn(&Arguments<'_>, &Context) -> Answer;

/// Each with its name.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("aws_secretsmanager", stored),
    ("aws_secretsmanager_raw", stored),
    ("build", build),
    ("build_name", |arguments, context| name_of_build(arguments, context.build_name.as_deref())),
    ("build_type", |arguments, context| name_of_build(arguments, context.build_type.as_deref())),
    ("consul_key", stored),
    ("env", environment),
    ("isotime", |arguments, context| {
        arguments.count(0, 1)?;
        let layout = if arguments.values.is_empty() { time_layout::RFC3339 } else { arguments.text(0)? };
        Ok(time_layout::go(layout, context.now).into())
    }),
    ("lower", |arguments, _| {
        arguments.count(1, 1)?;
        Ok(arguments.text(0)?.chars().map(strings::lower).collect::<String>().into())
    }),
    ("packer_version", |arguments, _| {
        arguments.count(0, 0)?;
        Ok(PACKER_VERSION.into())
    }),
    ("pwd", |arguments, context| {
        arguments.count(0, 0)?;
        Ok(context.cwd.to_string_lossy().into_owned().into())
    }),
    ("replace", replace),
    ("replace_all", |arguments, _| {
        arguments.count(3, 3)?;
        Ok(arguments.text(2)?.replace(arguments.text(0)?, arguments.text(1)?).into())
    }),
    ("sed", |_, _| {
        Err("error calling sed: template function `sed` is deprecated; use `replace` or `replace_all` instead".into())
    }),
    ("split", |arguments, _| {
        arguments.count(3, 3)?;
        split(arguments.text(0)?, arguments.text(1)?, arguments.integer(2)?)
    }),
    ("strftime", strftime),
    ("template_dir", |arguments, context| {
        arguments.count(0, 0)?;
        let folder = context.template_dir.as_ref().map(|path| path.to_string_lossy().into_owned().into());
        folder.ok_or_else(|| "error calling template_dir: template_dir is not available".into())
    }),
    ("timestamp", |arguments, context| {
        arguments.count(0, 0)?;
        Ok(context.now.as_second().to_string().into())
    }),
    ("upper", |arguments, _| {
        arguments.count(1, 1)?;
        Ok(arguments.text(0)?.chars().map(strings::upper).collect::<String>().into())
    }),
    ("user", |arguments, context| {
        arguments.count(1, 1)?;
        Ok(context.variables.get(arguments.text(0)?).cloned().unwrap_or_default().into())
    }),
    ("uuid", |arguments, _| {
        arguments.count(0, 0)?;
        Ok(uuid::Uuid::now_v7().to_string().into())
    }),
    ("vault", stored),
];

fn environment(arguments: &Arguments<'_>, context: &Context) -> Answer {
    arguments.count(1, 1)?;
    match &context.environment {
        Some(environment) => Ok(environment.get(arguments.text(0)?).cloned().unwrap_or_default().into()),
        None => Err("error calling env: env vars are not allowed here".into()),
    }
}

fn name_of_build(arguments: &Arguments<'_>, name: Option<&str>) -> Answer {
    arguments.count(0, 0)?;
    name.map(Value::from).ok_or_else(|| format!("error calling {0}: {0} not available", arguments.name))
}

fn build(arguments: &Arguments<'_>, context: &Context) -> Answer {
    arguments.count(1, 1)?;
    let key = arguments.text(0)?;
    match context.build.get(key) {
        Some(value) => Ok(value.clone().into()),
        None if context.build.is_empty() => {
            Err("error calling build: loading build data: build data is not available here".into())
        }
        None => {
            let hint = did_you_mean(key, context.build.keys().map(String::as_str));
            let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            Err(format!("error calling build: there is no build value named {key:?}{hint}"))
        }
    }
}

fn strftime(arguments: &Arguments<'_>, context: &Context) -> Answer {
    arguments.count(0, 1)?;
    if arguments.values.is_empty() {
        return Ok(time_layout::go(time_layout::RFC3339, context.now).into());
    }
    let written = time_layout::strftime(arguments.text(0)?, context.now);
    written.map(Value::from).map_err(|error| format!("error calling strftime: {error}"))
}

fn replace(arguments: &Arguments<'_>, _: &Context) -> Answer {
    arguments.count(4, 4)?;
    let (old, new, source) = (arguments.text(0)?, arguments.text(1)?, arguments.text(3)?);
    Ok(match usize::try_from(arguments.integer(2)?) {
        Ok(times) => source.replacen(old, new, times).into(),
        Err(_) => source.replace(old, new).into(),
    })
}

/// Reads from a store of secrets.
fn stored(arguments: &Arguments<'_>, context: &Context) -> Answer {
    let name = arguments.name;
    let Some(environment) = &context.environment else {
        return Err(format!("error calling {name}: {name} is only allowed in the variables section"));
    };
    let parts = match name {
        "vault" => 2,
        "consul_key" => 1,
        _ => {
            return Err(format!("error calling {name}: this version of Kiln does not read secrets from that service"));
        }
    };
    arguments.count(parts, parts)?;
    let found = match &context.data {
        DataMode::Refuse => Err("stores of secrets are not read here; pass the value as a variable".into()),
        DataMode::Unknown => Ok(UNKNOWN.to_owned()),
        DataMode::Fetch(sources) if name == "vault" => {
            secret_stores::vault(&**sources, environment, arguments.text(0)?, arguments.text(1)?)
        }
        DataMode::Fetch(sources) => secret_stores::consul_key(&**sources, environment, arguments.text(0)?),
    };
    found.map(Value::from).map_err(|reason| format!("error calling {name}: {reason}"))
}

fn split(text: &str, separator: &str, position: i64) -> Answer {
    let parts: Vec<String> = if separator.is_empty() {
        text.chars().map(String::from).collect()
    } else {
        text.split(separator).map(str::to_owned).collect()
    };
    let out_of_range = || "error calling split: the specified index is out of range".to_owned();
    let position = usize::try_from(position).map_err(|_| out_of_range())?;
    parts.get(position).cloned().map(Value::from).ok_or_else(out_of_range)
}
