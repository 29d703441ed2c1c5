//! What handlers take out of a request; whatever is wrong with it is an [`ApiError`](shared::api::ApiError).

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::display_safe;

use crate::admin::error::Failure;

/// A body in JSON; an empty one stands for `{}`.
#[derive(Debug)]
pub(in crate::admin) struct Body<T>(pub(in crate::admin) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|_| Failure::bad_request("the body was cut off"))?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        // serde names field and place, and may quote what it found: shown without control characters.
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| Failure::bad_request(format!("body: {}", without_values(&error))))
    }
}

/// serde quotes wrong values, and a wrong value may be half a password: only where it is, then.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quotes_a_value = text.starts_with("invalid type") || text.starts_with("invalid value");
    let text = match text.split_once(", expected ").filter(|_| quotes_a_value) {
        Some((_, expected)) => format!("expected {expected}"),
        None => text,
    };
    display_safe(&text).into_owned()
}

/// The query string.
#[derive(Debug)]
pub(in crate::admin) struct Asked<T>(pub(in crate::admin) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| {
            Failure::bad_request(format!("query: {}", display_safe(&error.body_text())))
        })
    }
}

/// The names in the path, percent-decoded.
#[derive(Debug)]
pub(in crate::admin) struct Named<T>(pub(in crate::admin) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(names)| Self(names)).map_err(|error| {
            Failure::bad_request(format!("path: {}", display_safe(&error.body_text())))
        })
    }
}

/// The revision that the caller read: `If-Match: 7`, quoted or not.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) struct Expected(pub(in crate::admin) u64);

impl<S: Send + Sync> FromRequestParts<S> for Expected {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        std::future::ready(revision(&parts.headers)).await
    }
}

fn revision(headers: &HeaderMap) -> Result<Expected, Failure> {
    const FORM: &str =
        "send the revision that you read as If-Match: <number>; 0 where there is none yet";
    let Some(value) = headers.get(IF_MATCH) else {
        return Err(Failure::bad_request(format!("If-Match is missing: {FORM}")));
    };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    text.parse()
        .map(Expected)
        .map_err(|_| Failure::bad_request(FORM))
}

/// Why: `?reason=...`, kept in the audit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::admin) struct Why {
    pub(in crate::admin) reason: String,
}

/// Which part of a tail.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::admin) struct Tail {
    pub(in crate::admin) after: Option<String>,
    pub(in crate::admin) limit: Option<usize>,
}

impl Tail {
    const DEFAULT: usize = 200;
    const MAX: usize = 1000;

    pub(in crate::admin) fn limit(&self) -> usize {
        self.limit.unwrap_or(Self::DEFAULT).clamp(1, Self::MAX)
    }
}

#[cfg(test)]
mod tests {
    use shared::api::UserPut;

    use super::*;

    #[test]
    fn revisions_are_numbers_quoted_or_not() {
        let parse = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, value.parse().unwrap());
            revision(&headers).map(|Expected(revision)| revision).ok()
        };
        assert_eq!(parse("7"), Some(7));
        assert_eq!(parse("\"7\""), Some(7));
        assert_eq!(parse("*"), None);
        assert_eq!(parse("-1"), None);
        assert!(revision(&HeaderMap::new()).is_err());
    }

    #[test]
    fn errors_about_bodies_quote_no_values() {
        let error = |text: &str| {
            without_values(&serde_json::from_str::<UserPut>(text).map(drop).unwrap_err())
        };
        let text = error(r#"{"password": 12345678}"#);
        assert!(
            !text.contains("12345678") && text.contains("a string"),
            "{text}"
        );
        let text = error(r#"{"reason": "x"}"#);
        assert!(text.contains("password"), "{text}");
        assert!(!error("{\"\u{1b}[2J\"").contains('\u{1b}'));
    }
}
