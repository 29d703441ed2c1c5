//! Changes made at one node and their effect on the others, within a second.

use std::time::Duration;

use kit::client::{Login, TurnClient};
use kit::cluster::Cluster;
use kit::coturn::Peer;
use kit::node::{Node, NodeOptions, REALM, USER, rest_login, stored_login};
use kit::wait::{wait_for, wait_until};
use relayctl::client::{AdminApi as _, ClientError, FleetApi as _};
use shared::Realm;
use shared::api::{
    ErrorKind, JobState, KillRequest, ListQuery, RealmDocument, RealmPut, SecretCreate,
    SessionsKill, UserPatch, UserPut,
};

/// What is promised is a second; a debug build on a busy machine gets five.
const SOON: Duration = Duration::from_secs(5);

fn realm() -> Realm {
    REALM.parse().unwrap()
}

/// Writes a new document of the realm at `node`.
fn edit(node: &Node, change: impl FnOnce(&mut RealmDocument)) {
    let (admin, realm) = (node.admin(), realm());
    let now = admin.call(|api| api.realm(&realm)).unwrap();
    let mut document = now.document;
    change(&mut document);
    let put = RealmPut {
        document,
        reason: "test".to_owned(),
    };
    admin
        .call(|api| api.put_realm(&realm, now.revision, &put))
        .unwrap();
}

fn refused_with(client: &mut TurnClient, code: u16) -> bool {
    client
        .allocate()
        .is_err_and(|error| error.code() == Some(code))
}

#[test]
fn a_session_limit_edited_at_one_node_holds_at_the_others() {
    let cluster = Cluster::start();
    let mut first = cluster.nodes[0].client(&stored_login());
    first.allocate().unwrap();
    edit(&cluster.nodes[1], |document| {
        document.max_sessions_per_user = Some(1)
    });
    wait_until("the surplus to be refused", SOON, || {
        let mut second = cluster.nodes[0].client(&stored_login());
        let refused = refused_with(&mut second, 486);
        let _ = second.refresh(0);
        refused
    });
    assert_eq!(
        first.refresh(600).unwrap(),
        600,
        "a session that exists stays"
    );
}

#[test]
fn a_peer_no_longer_allowed_is_cut_off_from_running_sessions() {
    let peer = Peer::start();
    let options = NodeOptions {
        allowed_peers: None,
        ..NodeOptions::default()
    };
    let cluster = Cluster::start_with(&options);
    let range = peer.address.ip().to_string();
    edit(&cluster.nodes[1], |document| {
        document.allowed_peers = vec![range.parse().unwrap()]
    });
    let mut client = cluster.nodes[0].client(&stored_login());
    client.allocate().unwrap();
    wait_until("the peer to be allowed", SOON, || {
        client.bind_channel(0x4000, peer.address).is_ok()
    });
    client.send_channel(0x4000, b"before").unwrap();
    assert!(client.recv(SOON).unwrap().is_some());
    edit(&cluster.nodes[2], |document| document.allowed_peers.clear());
    wait_until("the channel to fall silent", SOON * 2, || {
        client.send_channel(0x4000, b"after").unwrap();
        client.recv(Duration::from_millis(200)).unwrap().is_none()
    });
    let refused = client.permit(&[peer.address.ip()]).unwrap_err();
    assert_eq!(refused.code(), Some(403));
}

#[test]
fn an_edit_of_an_old_revision_is_refused_with_the_current_one() {
    let cluster = Cluster::start();
    edit(&cluster.nodes[0], |document| {
        document.note = "first".to_owned()
    });
    let admin = cluster.nodes[1].admin();
    let put = RealmPut {
        document: RealmDocument::default(),
        reason: String::new(),
    };
    let error = admin
        .call(|api| async move { api.put_realm(&realm(), 0, &put).await })
        .unwrap_err();
    let ClientError::Api(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.error, ErrorKind::RevisionConflict);
    assert!(error.current_revision.is_some_and(|revision| revision > 0));
}

#[test]
fn a_changed_password_replaces_the_old_one_everywhere() {
    let cluster = Cluster::start();
    let put = |password: &str| {
        let put = UserPut {
            password: password.to_owned(),
            reason: String::new(),
        };
        let admin = cluster.nodes[0].admin();
        admin
            .call(|api| async move { api.put_user(&realm(), "dinah", &put).await })
            .unwrap();
    };
    let (old, new) = (Login::new("dinah", "rabbit"), Login::new("dinah", "hole"));
    put("rabbit");
    for node in &cluster.nodes {
        wait_until("the first password", SOON, || {
            node.client(&old).allocate().is_ok()
        });
    }
    put("hole");
    for node in &cluster.nodes {
        wait_until("the second password", SOON, || {
            refused_with(&mut node.client(&old), 401) && node.client(&new).allocate().is_ok()
        });
    }
}

#[test]
fn a_user_switched_off_is_refused_and_switched_on_is_served() {
    let cluster = Cluster::start();
    let login = Login::new("dinah", "rabbit");
    let admin = cluster.nodes[1].admin();
    let put = UserPut {
        password: "rabbit".to_owned(),
        reason: String::new(),
    };
    admin
        .call(|api| async move { api.put_user(&realm(), "dinah", &put).await })
        .unwrap();
    for disabled in [true, false] {
        let patch = UserPatch {
            disabled: Some(disabled),
            ..UserPatch::default()
        };
        admin
            .call(|api| async move { api.patch_user(&realm(), "dinah", &patch).await })
            .unwrap();
        wait_until("the switch at another node", SOON, || {
            cluster.nodes[2].client(&login).allocate().is_err() == disabled
        });
    }
}

#[test]
fn a_secret_works_on_all_nodes_until_it_is_deleted_and_is_shown_once() {
    let cluster = Cluster::start();
    let admin = cluster.nodes[2].admin();
    let create = SecretCreate {
        label: "second".to_owned(),
        ..SecretCreate::default()
    };
    let made = admin
        .call(|api| async move { api.create_secret(&realm(), &create).await })
        .unwrap();
    let value = made.value.expect("a generated value is answered once");
    let expiry = kit::node::unix_now() + 600;
    let login = Login::rest(&format!("{expiry}:guest"), &value);
    for node in &cluster.nodes {
        wait_until("the new secret", SOON, || {
            node.client(&login).allocate().is_ok()
        });
        node.client(&rest_login("other"))
            .allocate()
            .expect("the first secret stays good");
    }
    let listed = cluster.nodes[0]
        .ctl()
        .run(&["secret", "list", "--realm", REALM, "-o", "json"]);
    assert!(listed.stdout.contains(&made.secret.id), "{listed:?}");
    assert!(!listed.stdout.contains(&value));
    let id = made.secret.id.clone();
    admin
        .call(|api| async move { api.delete_secret(&realm(), &id, "").await })
        .unwrap();
    for node in &cluster.nodes {
        wait_until("the deleted secret", SOON, || {
            refused_with(&mut node.client(&login), 401)
        });
        assert!(!node.log().contains(&value), "no secret in a log");
    }
}

#[test]
fn a_killed_user_that_is_blocked_comes_back_nowhere() {
    let cluster = Cluster::start();
    let mut client = cluster.nodes[0].client(&stored_login());
    let relay = client.allocate().unwrap().relay;
    let admin = cluster.nodes[1].admin();
    let id = wait_for("the session at another node", SOON, || {
        let page = admin
            .call(|api| async { api.sessions(&ListQuery::default()).await })
            .ok()?;
        page.items
            .into_iter()
            .find(|session| session.relay == relay)
            .map(|session| session.id)
    });
    let request = KillRequest {
        reason: "test".to_owned(),
        block_secs: Some(600),
    };
    let text = id.to_string();
    let killed = admin
        .call(|api| async move { api.kill_session(&text, &request).await })
        .unwrap();
    assert_eq!(
        (killed.node.as_str(), killed.user.as_str()),
        ("ams1", USER.0)
    );
    assert!(killed.blocked_until_ms.is_some());
    for node in &cluster.nodes {
        wait_until("the block", SOON, || {
            node.client(&stored_login()).allocate().is_err()
        });
    }
    cluster.nodes[0]
        .client(&rest_login("bystander"))
        .allocate()
        .unwrap();
    admin
        .call(|api| async move { api.delete_block(&realm(), USER.0, "").await })
        .unwrap();
    wait_until("the end of the block", SOON, || {
        cluster.nodes[2].client(&stored_login()).allocate().is_ok()
    });
}

#[test]
fn a_job_ends_the_sessions_of_a_filter_on_all_nodes() {
    let cluster = Cluster::start();
    let mut doomed: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| node.client(&rest_login("bot")))
        .collect();
    for client in &mut doomed {
        client.allocate().unwrap();
    }
    let mut spared = cluster.nodes[1].client(&rest_login("anna"));
    spared.allocate().unwrap();
    let admin = cluster.nodes[2].admin();
    let query = ListQuery {
        filter: Some("user=bot".to_owned()),
        ..ListQuery::default()
    };
    wait_until("all sessions to be listed", SOON * 2, || {
        admin
            .call(|api| api.sessions(&query))
            .is_ok_and(|page| page.matched == 3)
    });
    let kill = SessionsKill {
        filter: Some("user=bot".to_owned()),
        expected: 3,
        rate: 100,
        reason: "test".to_owned(),
        ..SessionsKill::default()
    };
    let job = admin
        .call(|api| async move { api.start_kill_job(&kill).await })
        .unwrap();
    let done = wait_for("the job to end", SOON * 3, || {
        let job = admin.call(|api| api.job(&job.id)).ok()?;
        (job.state == JobState::Done).then_some(job)
    });
    assert_eq!((done.total, done.done, done.failed), (3, 3, 0), "{done:?}");
    for client in &mut doomed {
        assert_eq!(client.refresh(600).unwrap_err().code(), Some(437));
    }
    assert_eq!(spared.refresh(600).unwrap(), 600);
}

#[test]
fn a_preview_names_the_sessions_that_an_edit_then_hits() {
    let (cluster, peer) = (Cluster::start(), Peer::start());
    let mut client = cluster.nodes[0].client(&stored_login());
    client.allocate().unwrap();
    client.bind_channel(0x4000, peer.address).unwrap();
    let echoes = |client: &mut TurnClient| {
        client.send_channel(0x4000, b"ping").unwrap();
        client.recv(Duration::from_millis(200)).unwrap().is_some()
    };
    wait_until("the peer to answer", SOON, || echoes(&mut client));
    let (admin, realm) = (cluster.nodes[2].admin(), realm());
    let preview = |document: &RealmDocument| {
        let put = RealmPut {
            document: document.clone(),
            reason: String::new(),
        };
        admin.call(|api| api.preview_realm(&realm, &put)).unwrap()
    };
    let now = admin.call(|api| api.realm(&realm)).unwrap();
    let same = preview(&now.document);
    assert_eq!((same.nodes, same.sessions), (3, 1), "{same:?}");
    assert_eq!(same.sessions_with_denied_peers, 0, "{same:?}");
    let mut closed = now.document.clone();
    closed.denied_peers = vec![peer.address.ip().to_string().parse().unwrap()];
    let hit = preview(&closed);
    assert_eq!(hit.sessions_with_denied_peers, 1, "{hit:?}");
    assert_eq!((hit.revision, hit.errors.len()), (now.revision, 0));
    assert!(echoes(&mut client), "nothing was changed");

    edit(&cluster.nodes[2], |document| {
        document.denied_peers.clone_from(&closed.denied_peers);
        document.origins = vec!["https://app.example.org".to_owned()];
    });
    wait_until("what was announced to happen", SOON, || {
        !echoes(&mut client)
    });
    let other: Realm = "other.example".parse().unwrap();
    let put = RealmPut {
        document: RealmDocument {
            origins: vec!["https://app.example.org:443".to_owned()],
            ..RealmDocument::default()
        },
        reason: String::new(),
    };
    let taken = cluster.nodes[1]
        .admin()
        .call(|api| api.put_realm(&other, 0, &put));
    let Err(ClientError::Api(error)) = taken else {
        panic!("{taken:?}")
    };
    assert_eq!(error.error, ErrorKind::Conflict);
    assert!(error.message.contains(REALM), "{}", error.message);
}
