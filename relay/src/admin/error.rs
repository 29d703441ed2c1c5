//! Failures as HTTP: always an [`ApiError`] in JSON, with the status of its kind.

use axum::Json;
use axum::http::header::{CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use shared::api::{ApiError, ErrorKind};
use shared::display_safe;

/// A failed call.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: ApiError,
}

impl Failure {
    /// A request that makes no sense.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        ApiError::new(ErrorKind::BadRequest, message).into()
    }

    /// The same error under a more telling status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let status =
            StatusCode::from_u16(error.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.error)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// For paths that do not exist.
pub(super) async fn unknown_path(uri: Uri) -> Failure {
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("there is no {}; see /v1/openapi.json", display_safe(&path));
    std::future::ready(ApiError::new(ErrorKind::NotFound, message).into()).await
}

/// For paths that exist, but not with this method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Failure {
    let path: String = uri.path().chars().take(200).collect();
    let message = format!(
        "{} has no {method}; see /v1/openapi.json",
        display_safe(&path)
    );
    let failure = Failure::bad_request(message).with_status(StatusCode::METHOD_NOT_ALLOWED);
    std::future::ready(failure).await
}

/// Answers can hold a fresh secret: nothing between us and the caller may keep or guess at them.
pub(super) async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    std::future::ready(response).await
}
