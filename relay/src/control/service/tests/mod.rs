mod alerts;
mod audit;
mod away;
mod callers;
mod config;
mod data;
mod groups;
mod history;
mod jobs;
mod life;
mod nodes;
mod places;
mod preview;
mod realms;
mod redirects;
mod refusals;
mod sessions;
mod userhash;

use shared::api::{
    BlockRequest, ItemOutcome, JobState, KillRequest, ListQuery, MintRequest, NodeRole,
    RealmDocument, RealmPut, SecretCreate, SessionsKill, TokenCreate, UserPatch, UserPut,
};
use turn_proto::auth::credential::CredentialAnswer;

use super::*;
use crate::control::testing::{
    TestNode, admin, caller, config, eventually, realm, snapshot, store,
};

fn put(password: &str) -> UserPut {
    UserPut {
        password: password.to_owned(),
        reason: "test".to_owned(),
    }
}
