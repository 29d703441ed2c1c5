//! Realms, users and calls of the demo, created over the admin API.

use std::net::SocketAddr;

use anyhow::Context as _;
use relayctl::client::{AdminApi, HttpAdmin};
use shared::Realm;
use shared::api::{MintRequest, RealmDocument, RealmPut, SecretCreate, UserPut};

use crate::client::Login;
use crate::traffic::{Calls, End, Media};

/// The realm with stored users: the default one of every listener.
pub(super) const STORED_REALM: &str = "north.gov";
/// The realm of time-limited credentials, on a second listener of every node.
pub(super) const REST_REALM: &str = "media.example";
/// The realm of the pages, whose credentials are good for few sessions; on a third listener.
pub(super) const PAGES_REALM: &str = "try.example";
/// Sessions of each credential of the pages.
const PAGES_SESSIONS: u32 = 2;
/// Stored users.
const STORED: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
/// Users with time-limited credentials.
const GUESTS: [&str; 6] = ["room-17", "room-23", "room-42", "ward-3", "ward-9", "lobby"];
/// What the audit says about all of it.
const REASON: &str = "demo";

/// Who calls.
#[derive(Debug)]
pub(super) struct Cast {
    stored: Vec<Login>,
    guests: Vec<Login>,
}

/// Creates realms, users and a secret, and mints credentials.
pub(super) async fn create(admin: &HttpAdmin) -> anyhow::Result<Cast> {
    let stored_realm: Realm = STORED_REALM.parse().context("a literal realm")?;
    let rest_realm: Realm = REST_REALM.parse().context("a literal realm")?;
    let pages_realm: Realm = PAGES_REALM.parse().context("a literal realm")?;
    for realm in [&stored_realm, &rest_realm] {
        ensure_realm(admin, realm, RealmDocument::default()).await?;
    }
    let few = RealmDocument {
        max_sessions_per_user: Some(PAGES_SESSIONS),
        ..RealmDocument::default()
    };
    ensure_realm(admin, &pages_realm, few).await?;
    let mut stored = Vec::new();
    for name in STORED {
        let password: [u8; 16] = rand::random();
        let password: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
        let put = UserPut {
            password: password.clone(),
            reason: REASON.to_owned(),
        };
        admin.put_user(&stored_realm, name, &put).await?;
        stored.push(Login::new(name, &password));
    }
    let create = SecretCreate {
        pending: false,
        label: "demo".to_owned(),
        reason: REASON.to_owned(),
        value: None,
    };
    for realm in [&rest_realm, &pages_realm] {
        admin.create_secret(realm, &create).await?;
    }
    let mut guests = Vec::new();
    for user in GUESTS {
        let request = MintRequest {
            user: user.to_owned(),
            ttl_secs: Some(86_400),
            count: Some(0),
            ..MintRequest::default()
        };
        let minted = admin.mint(&rest_realm, &request).await?;
        guests.push(Login::new(&minted.username, &minted.credential));
    }
    Ok(Cast { stored, guests })
}

/// Writes `document` for `realm` where the store has none.
async fn ensure_realm(
    admin: &HttpAdmin,
    realm: &Realm,
    document: RealmDocument,
) -> anyhow::Result<()> {
    if admin.realm(realm).await.is_ok_and(|view| view.revision > 0) {
        return Ok(());
    }
    let document = RealmDocument {
        note: "created by the demo".to_owned(),
        ..document
    };
    let put = RealmPut {
        document,
        reason: REASON.to_owned(),
    };
    admin.put_realm(realm, 0, &put).await?;
    Ok(())
}

/// Removes what [`create`] left in a store that outlives the demo.
pub(super) async fn remove(admin: &HttpAdmin) {
    let realms = [STORED_REALM, REST_REALM, PAGES_REALM].map(str::parse::<Realm>);
    let [Ok(stored), Ok(rest), Ok(pages)] = realms else {
        return;
    };
    for name in STORED {
        let _ = admin.delete_user(&stored, name, REASON).await;
    }
    for realm in [&rest, &pages] {
        let Ok(secrets) = admin.secrets(realm).await else {
            continue;
        };
        for secret in secrets.items.iter().filter(|secret| secret.label == "demo") {
            let _ = admin.delete_secret(realm, &secret.id, REASON).await;
        }
    }
    for realm in [&stored, &rest, &pages] {
        if let Ok(view) = admin.realm(realm).await {
            let _ = admin.delete_realm(realm, view.revision, REASON).await;
        }
    }
}

/// Starts `count` calls per pair of nodes, a node with itself included: two voice calls to each
/// video call, callers taken in turn from both realms.
pub(super) fn call_everybody(
    calls: &mut Calls,
    listeners: &[[SocketAddr; 3]],
    cast: &Cast,
    count: usize,
) {
    let mut next = 0;
    for (index, from) in listeners.iter().enumerate() {
        for to in &listeners[index..] {
            for call in 0..count {
                let media = if call % 3 == 2 {
                    Media::Video
                } else {
                    Media::Voice
                };
                let (listener, logins) = if next % 2 == 0 {
                    (0, &cast.stored)
                } else {
                    (1, &cast.guests)
                };
                let end = |server: &[SocketAddr; 3], who: usize| End {
                    server: server[listener],
                    login: logins[who % logins.len()].clone(),
                };
                calls.start(media, [end(from, next / 2), end(to, next / 2 + 1)]);
                next += 1;
            }
        }
    }
}
