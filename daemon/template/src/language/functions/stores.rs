//! Owns the functions that ask for what is kept elsewhere: the environment and stores of secrets.

use std::collections::BTreeMap;

use super::table::{Answer, Call, Failure, Function, function, text};
use crate::language::value::{Type, Value};
use crate::world::data::{DataMode, DataSources};
use crate::world::secret_stores;

pub(super) const FUNCTIONS: &[Function] = &[
    function("env", &[text("key")], |call| {
        Ok(call.environment.variables.get(call.text(0)).map_or("", String::as_str).into())
    }),
    function("aws_secretsmanager", &[text("name"), text("key").or_null()], |_| {
        Err(unreachable_service("AWS Secrets Manager"))
    }),
    function("aws_secretsmanager_raw", &[text("name")], |_| Err(unreachable_service("AWS Secrets Manager"))),
    function("consul_key", &[text("path")], |call| {
        stored(call, |sources, environment| secret_stores::consul_key(sources, environment, call.text(0)))
    }),
    function("vault", &[text("path"), text("key")], |call| {
        let value = stored(call, |sources, environment| {
            secret_stores::vault(sources, environment, call.text(0), call.text(1))
        })?;
        // Whoever keeps a value in a vault does not want to see it in a log.
        if let Some(text) = value.as_str() {
            call.environment.redactor.add(text);
        }
        Ok(value.marked(true))
    }),
];

/// Reads from a store of secrets, where the world may be asked.
fn stored(
    call: &Call<'_>,
    read: impl FnOnce(&dyn DataSources, &BTreeMap<String, String>) -> Result<String, String>,
) -> Answer {
    match &call.environment.data {
        DataMode::Refuse => Err(Failure::new("stores of secrets are not read here; pass the value as a variable")),
        DataMode::Unknown => Ok(Value::unknown_of(Type::String)),
        DataMode::Fetch(sources) => {
            read(&**sources, &call.environment.variables).map(Value::from).map_err(Failure::new)
        }
    }
}

fn unreachable_service(service: &str) -> Failure {
    Failure::new(format!(
        "this version of Kiln does not read secrets from {service}; pass the value as a variable, for example with \
         PKR_VAR_name in the environment"
    ))
}
