//! The handlers, one file per noun: they take a request apart, call the service and answer JSON.

pub(super) mod alert;
pub(super) mod ban;
pub(super) mod cluster;
pub(super) mod config;
pub(super) mod event;
pub(super) mod history;
pub(super) mod input;
pub(super) mod oauth;
pub(super) mod realm;
pub(super) mod redirect;
pub(super) mod session;
pub(super) mod token;
pub(super) mod user;

use axum::http::StatusCode;
use axum::{Extension, Json};

use super::error::Failure;
use crate::control::Caller;

/// Who calls, as [`auth`](super::auth) found out.
type Who = Extension<Caller>;
/// A body.
type Answer<T> = Result<Json<T>, Failure>;
/// No body.
type Done = Result<StatusCode, Failure>;
/// A body and 201.
type Created<T> = Result<(StatusCode, Json<T>), Failure>;
