//! Reads request bodies: bounded in size and time, typed, with errors as problems.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kiln_protocol::{MAX_REQUEST_BYTES, ProblemCode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::ApiProblem;
use super::state::ApiState;

/// A JSON body, and its bytes.
pub(super) struct JsonBody<T> {
    pub(super) value: T,
    pub(super) bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiProblem> {
        let bytes = read(request, state).await?;
        // An absent body stands for an object with nothing in it: `curl -X POST` cancels a job.
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let value = serde_json::from_slice(text).map_err(|error| {
            ApiProblem::new(ProblemCode::InvalidRequest, format!("the body is not as expected: {error}"))
        })?;
        Ok(Self { value, bytes })
    }
}

async fn read(request: Request, state: &ApiState) -> Result<Bytes, ApiProblem> {
    let too_large = || {
        let detail = format!("the body is larger than {MAX_REQUEST_BYTES} bytes");
        ApiProblem::new(ProblemCode::RequestTooLarge, detail)
    };
    let announced = request.headers().get(hyper::header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_REQUEST_BYTES as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
    match timeout(state.jobs.limits().body, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(ApiProblem::new(ProblemCode::InvalidRequest, format!("the body cannot be read: {error}")))
        }
        Err(_) => Err(ApiProblem::new(ProblemCode::RequestTimeout, "the body did not arrive in time")),
    }
}
