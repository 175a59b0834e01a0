//! Makes the OpenAPI 3.1 document from the table of routes and the schemas of the wire types.

use kiln_protocol::problem::PROBLEM_JSON;
use kiln_protocol::{Event, NDJSON, Problem};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::version::VERSION;

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One operation of the API.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    id: &'static str,
    summary: &'static str,
    parameters: Vec<Parameter>,
    request: Option<SchemaOf>,
    answers: Vec<(u16, Answer)>,
}

/// A parameter of an operation.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    name: &'static str,
    place: &'static str,
    description: &'static str,
}

/// An answer of an operation.
pub(super) struct Answer {
    description: &'static str,
    content: Vec<(&'static str, SchemaOf)>,
}

impl Operation {
    pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { method: "get", path, id, summary, parameters: Vec::new(), request: None, answers: Vec::new() }
    }

    pub(super) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { method: "post", ..Self::get(path, id, summary) }
    }

    pub(super) fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { method: "delete", ..Self::get(path, id, summary) }
    }

    pub(super) fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.request = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    pub(super) fn answers(mut self, status: u16, answer: Answer) -> Self {
        self.answers.push((status, answer));
        self
    }

    fn describe(&self, schemas: &mut SchemaGenerator) -> Value {
        let parameter = |parameter: &Parameter| {
            json!({
                "name": parameter.name,
                "in": parameter.place,
                "description": parameter.description,
                "required": parameter.place == "path",
                "schema": { "type": "string" },
            })
        };
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": self.parameters.iter().map(parameter).collect::<Vec<_>>(),
        });
        if let Some(schema) = self.request {
            operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema(schemas) } } });
        }
        let mut responses = Map::new();
        for (status, answer) in &self.answers {
            let mut response = json!({ "description": answer.description });
            for (media_type, schema) in &answer.content {
                response["content"][media_type] = json!({ "schema": schema(schemas) });
            }
            responses.insert(status.to_string(), response);
        }
        let problem = schemas.subschema_for::<Problem>();
        let content = json!({ PROBLEM_JSON: { "schema": problem } });
        responses.insert(
            "default".to_owned(),
            json!({ "description": "The request was not carried out.", "content": content }),
        );
        operation["responses"] = Value::Object(responses);
        operation
    }
}

impl Parameter {
    pub(super) const fn path(name: &'static str, description: &'static str) -> Self {
        Self { name, place: "path", description }
    }

    pub(super) const fn query(name: &'static str, description: &'static str) -> Self {
        Self { name, place: "query", description }
    }

    pub(super) const fn header(name: &'static str, description: &'static str) -> Self {
        Self { name, place: "header", description }
    }
}

impl Answer {
    pub(super) fn json<T: JsonSchema>(description: &'static str) -> Self {
        Self { description, content: vec![("application/json", SchemaGenerator::subschema_for::<T>)] }
    }

    pub(super) fn events(description: &'static str) -> Self {
        let schema: SchemaOf = SchemaGenerator::subschema_for::<Event>;
        Self { description, content: vec![(NDJSON, schema), ("text/event-stream", schema)] }
    }

    pub(super) fn png(description: &'static str) -> Self {
        Self { description, content: vec![("image/png", |_| Schema::default())] }
    }

    pub(super) fn document(description: &'static str) -> Self {
        let any_object: SchemaOf = |_| schemars::json_schema!({ "type": "object" });
        Self { description, content: vec![("application/json", any_object)] }
    }

    pub(super) fn nothing(description: &'static str) -> Self {
        Self { description, content: Vec::new() }
    }
}

/// Makes the document.
pub(super) fn document(operations: impl Iterator<Item = Operation>) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for operation in operations {
        let described = operation.describe(&mut schemas);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Kiln",
            "version": VERSION,
            "description": "kilnd's API, served on a Unix socket: `curl --unix-socket $XDG_RUNTIME_DIR/kiln/kiln.sock http://kiln/v1/info`.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "http://kiln" }],
        "paths": paths,
        "components": { "schemas": schemas.take_definitions(true) },
    })
}
