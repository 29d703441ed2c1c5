//! The one table of endpoints: the router is built from it, and the OpenAPI document is checked
//! against it.

use axum::routing::{MethodRouter, delete, get, patch, post, put};
use shared::api::route;

use super::Api;
use super::handlers::{
    alert, ban, cluster, config, event, history, oauth, realm, redirect, session, token, user,
};

/// The OpenAPI document, answered as it is.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// A method of a path.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// In lower case, for the check of the OpenAPI document.
    #[cfg(test)]
    pub(super) method: &'static str,
    /// A pattern of [`route`].
    pub(super) path: &'static str,
    /// What it does.
    pub(super) handler: MethodRouter<Api>,
}

macro_rules! endpoints {
    ($($method:ident $path:ident $handler:path;)*) => {
        vec![$(Endpoint {
            #[cfg(test)]
            method: stringify!($method),
            path: route::$path,
            handler: $method($handler),
        }),*]
    };
}

/// Everything that is served.
pub(super) fn all() -> Vec<Endpoint> {
    let mut all = realms();
    all.extend(endpoints! {
        get WHOAMI cluster::whoami;
        get OVERVIEW cluster::overview;
        get OVERVIEW_HISTORY history::overview;
        get NODES cluster::nodes;
        get NODE cluster::node;
        delete NODE cluster::forget_node;
        put NODE_DRAIN cluster::drain;
        delete NODE_DRAIN cluster::undrain;
        post NODE_UPGRADE cluster::upgrade;
        get NODE_HISTORY history::node;
        get NODE_CONFIG config::of_node;
        patch NODE_CONFIG config::patch_node;
        get NODE_CONFIG_OVERRIDES config::node_overrides;
        get CONFIG config::overrides;
        patch CONFIG config::patch;
        get SESSIONS session::list;
        get SESSION_GROUPS session::groups;
        get SESSION session::get;
        get SESSION_HISTORY history::session;
        delete SESSION session::kill;
        post SESSIONS_KILL session::kill_many;
        get JOBS session::jobs;
        get JOB session::job;
        delete JOB session::stop_job;
        get USERS user::list;
        get USER user::get;
        get USER_HISTORY history::user;
        put USER user::put;
        patch USER user::patch;
        delete USER user::delete;
        get BLOCKS user::blocks;
        put BLOCK user::block;
        delete BLOCK user::unblock;
        get EVENTS event::list;
        get EVENTS_STREAM event::stream;
        get AUDIT event::audit;
        get REFUSALS cluster::refusals;
        get REFUSALS_RECENT cluster::recent_refusals;
        get REDIRECTS redirect::list;
        post REDIRECTS redirect::create;
        delete REDIRECT redirect::delete;
        get ALERTS alert::list;
        get ALERT_RULES alert::rules;
        patch ALERT_RULE alert::patch;
        get BANS ban::list;
        post BANS ban::create;
        delete BAN ban::delete;
        get OAUTH_KEYS oauth::list;
        put OAUTH_KEY oauth::put;
        delete OAUTH_KEY oauth::delete;
        get TOKENS token::list;
        post TOKENS token::create;
        delete TOKEN token::delete;
        get OPENAPI cluster::openapi;
    });
    all
}

/// What is about one realm.
fn realms() -> Vec<Endpoint> {
    endpoints! {
        get REALMS realm::list;
        get REALM realm::get;
        get REALM_HISTORY history::realm;
        post REALM_PREVIEW realm::preview;
        get REALM_REVISIONS realm::revisions;
        get REALM_REVISION realm::revision;
        get REALM_DIFF realm::diff;
        post REALM_UNDO realm::undo;
        post REALM_IMPORT realm::import;
        post REALM_REVEAL realm::reveal;
        put REALM realm::put;
        delete REALM realm::delete;
        get SECRETS realm::secrets;
        post SECRETS realm::create_secret;
        get SECRET_USAGE realm::secret_usage;
        patch SECRET realm::patch_secret;
        delete SECRET realm::delete_secret;
        post CREDENTIALS realm::mint;
    }
}
