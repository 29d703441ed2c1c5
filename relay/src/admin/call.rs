//! One call: its body read in time, its handler run to the end.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::api::{ApiError, ErrorKind};
use tokio::sync::Semaphore;

use super::error::Failure;

/// The largest body.
const MAX_BODY: usize = 1 << 20;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How long a caller waits for an answer.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Calls that run at a time.
const MAX_CALLS: usize = 256;

/// The calls that run.
#[derive(Clone, Debug)]
pub(super) struct Calls(Arc<Semaphore>);

impl Default for Calls {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CALLS)))
    }
}

/// Reads the body, then runs the handler in a task of its own: a caller that hangs up in the middle
/// of a change leaves no half a change, and none without its audit record.
pub(super) async fn run(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let Ok(permit) = calls.0.try_acquire_owned() else {
        let message = "this node answers too many calls already: try again";
        return Failure::from(ApiError::new(ErrorKind::Unavailable, message)).into_response();
    };
    let request = match with_body(request).await {
        Ok(request) => request,
        Err(failure) => return failure.into_response(),
    };
    let handler = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(permit);
        response
    });
    let error = match tokio::time::timeout(CALL_DEADLINE, handler).await {
        Ok(Ok(response)) => return response,
        Ok(Err(_)) => ApiError::new(ErrorKind::Internal, "the call failed; the log knows more"),
        Err(_) => {
            let message = "no answer in 30 seconds; it may still happen";
            ApiError::new(ErrorKind::Unconfirmed, message)
        }
    };
    Failure::from(error).into_response()
}

async fn with_body(request: Request) -> Result<Request, Failure> {
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_DEADLINE, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(head, Body::from(bytes))),
        Ok(Err(_)) => Err(
            Failure::bad_request("the body was cut off or is larger than 1 MiB")
                .with_status(StatusCode::PAYLOAD_TOO_LARGE),
        ),
        Err(_) => Err(
            Failure::bad_request("the body did not arrive in 10 seconds")
                .with_status(StatusCode::REQUEST_TIMEOUT),
        ),
    }
}
