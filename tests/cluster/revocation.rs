//! Calls that end because their credential is worth nothing any more, where their realm says so.

use std::time::Duration;

use kit::client::{Login, TurnClient};
use kit::cluster::Cluster;
use kit::coturn::{UserDb, turnadmin};
use kit::node::{Node, REALM, rest_login, stored_login, unix_now};
use kit::wait::wait_until;
use relayctl::client::{AdminApi as _, ClientError, FleetApi as _};
use shared::Realm;
use shared::api::{
    ErrorKind, ListQuery, RealmDocument, RealmPut, SecretCreate, UserPatch, UserPut,
};

/// What is promised is a second; a debug build on a busy machine gets five.
const SOON: Duration = Duration::from_secs(5);
/// How long nodes may take to notice that Redis is back, and to compare.
const BACK: Duration = Duration::from_secs(20);

fn realm() -> Realm {
    REALM.parse().unwrap()
}

fn all_rules(document: &mut RealmDocument) {
    document.revoke_on_user_removal = true;
    document.revoke_on_password_change = true;
    document.revoke_on_secret_removal = true;
    document.revoke_on_credential_expiry = true;
}

/// Writes a new document of the realm, and waits until every node has it. A node that has not seen
/// yet that Redis lost its realms names a revision that the store rightly refuses; it is asked again.
fn edit(cluster: &Cluster, change: impl Fn(&mut RealmDocument)) {
    let (admin, realm) = (cluster.nodes[0].admin(), realm());
    let mut revision = 0;
    wait_until("the realm to take the edit", BACK, || {
        let now = admin.call(|api| api.realm(&realm)).unwrap();
        let mut document = now.document;
        change(&mut document);
        let put = RealmPut {
            document,
            reason: "test".to_owned(),
        };
        match admin.call(|api| api.put_realm(&realm, now.revision, &put)) {
            Ok(done) => revision = done.revision,
            Err(ClientError::Api(refused)) if refused.error == ErrorKind::RevisionConflict => {
                return false;
            }
            Err(error) => panic!("{error}"),
        }
        true
    });
    for node in &cluster.nodes {
        let admin = node.admin();
        wait_until("the document on every node", SOON, || {
            admin.call(|api| api.realm(&realm)).unwrap().revision >= revision
        });
    }
}

fn put_user(node: &Node, name: &str, password: &str) -> Login {
    let put = UserPut {
        password: password.to_owned(),
        reason: String::new(),
    };
    let (admin, realm) = (node.admin(), realm());
    admin.call(|api| api.put_user(&realm, name, &put)).unwrap();
    Login::new(name, password)
}

/// A call of this login on each node.
fn calls(cluster: &Cluster, login: &Login) -> Vec<TurnClient> {
    let call = |node: &Node| {
        let mut client = node.client(login);
        wait_until("the login to be accepted", SOON, || {
            client.allocate().is_ok()
        });
        client
    };
    cluster.nodes.iter().map(call).collect()
}

fn all_end(calls: &mut [TurnClient]) {
    for call in calls {
        wait_until("the call to end", SOON, || call.refresh(600).is_err());
    }
}

fn all_go_on(calls: &mut [TurnClient]) {
    for call in calls {
        assert_eq!(call.refresh(600).unwrap(), 600, "a call that goes on");
    }
}

fn refused(cluster: &Cluster, login: &Login) {
    let refused = |node: &Node| {
        let answer = node.client(login).allocate();
        answer.is_err_and(|error| error.code() == Some(401))
    };
    wait_until("the login to be refused", SOON, || {
        cluster.nodes.iter().all(refused)
    });
}

fn delete_user(node: &Node, name: &str) {
    let (admin, realm) = (node.admin(), realm());
    admin
        .call(|api| api.delete_user(&realm, name, "test"))
        .unwrap();
}

#[test]
fn a_deleted_users_calls_end_on_every_node_and_say_why() {
    let cluster = Cluster::start();
    edit(&cluster, all_rules);
    let dinah = put_user(&cluster.nodes[0], "dinah", "rabbit");
    let mut gone = calls(&cluster, &dinah);
    let mut others = calls(&cluster, &stored_login());
    others.extend(calls(&cluster, &rest_login("dinah")));
    delete_user(&cluster.nodes[1], "dinah");
    all_end(&mut gone);
    all_go_on(&mut others);
    let ctl = cluster.nodes[2].ctl();
    let why = "the user was removed";
    wait_until("events of the sessions", SOON, || {
        let events = ctl.items(&["event", "list", "--limit", "500"]);
        let told = events.iter().filter(|event| {
            let text = event["text"].as_str().unwrap_or_default();
            event["kind"] == "session-ended" && text.contains(why)
        });
        told.count() == 3
    });
    wait_until("the audit of every node", SOON, || {
        let query = ListQuery::default();
        let page = cluster.nodes[2].admin().call(|api| api.audit(&query));
        let records = page.unwrap().items.into_iter();
        let revoked = records.filter(|record| {
            record.action == "sessions.revoke"
                && record.target == format!("{REALM}/dinah")
                && record.reason.contains(why)
        });
        revoked.count() == 3
    });
    for node in &cluster.nodes {
        wait_until("the session among those that were revoked", SOON, || {
            let (_, text) = kit::http::get(node.metrics, "/metrics").unwrap();
            text.contains("relayd_allocations_ended_total{cause=\"revoked\"} 1\n")
        });
    }
}

#[test]
fn without_a_rule_calls_go_on_until_there_is_one() {
    let cluster = Cluster::start();
    let dinah = put_user(&cluster.nodes[0], "dinah", "rabbit");
    let mut running = calls(&cluster, &dinah);
    delete_user(&cluster.nodes[1], "dinah");
    refused(&cluster, &dinah);
    all_go_on(&mut running);
    edit(&cluster, |document| document.revoke_on_user_removal = true);
    for call in &mut running {
        wait_until("the comparison", BACK, || call.refresh(600).is_err());
    }
}

/// Sessions that a new document would end at once, as a preview counts them.
fn would_end(node: &Node, change: impl Fn(&mut RealmDocument)) -> u64 {
    let (admin, realm) = (node.admin(), realm());
    let mut document = admin.call(|api| api.realm(&realm)).unwrap().document;
    change(&mut document);
    let put = RealmPut {
        document,
        reason: String::new(),
    };
    let preview = admin.call(|api| api.preview_realm(&realm, &put)).unwrap();
    assert_eq!((preview.nodes, preview.sessions_unjudged), (3, 0));
    preview.sessions_revoked
}

#[test]
fn a_preview_counts_the_calls_that_new_rules_would_end_and_ends_none() {
    let cluster = Cluster::start();
    let [first, second, third] = &cluster.nodes[..] else {
        panic!()
    };
    let gone = calls(&cluster, &put_user(first, "dinah", "rabbit"));
    let changed = calls(&cluster, &put_user(first, "gryphon", "rabbit"));
    let mut all: Vec<_> = gone.into_iter().chain(changed).collect();
    all.extend(calls(&cluster, &put_user(first, "turtle", "rabbit")));
    let all_rules = |count| {
        wait_until("the preview to know", SOON, || {
            would_end(third, all_rules) == count
        });
    };
    all_rules(0);
    delete_user(second, "dinah");
    put_user(second, "gryphon", "hole");
    all_rules(6);
    assert_eq!(would_end(third, |d| d.revoke_on_user_removal = true), 3);
    assert_eq!(would_end(third, |d| d.revoke_on_password_change = true), 3);
    assert_eq!(would_end(third, |d| d.revoke_on_secret_removal = true), 0);
    all_go_on(&mut all);
    edit(&cluster, |document| document.revoke_on_user_removal = true);
    wait_until("the rule to have done it", BACK, || {
        all[..3].iter_mut().all(|call| call.refresh(600).is_err())
    });
    all_go_on(&mut all[3..]);
    // What a rule has ended is nothing that the next edit does.
    all_rules(3);
}

#[test]
fn users_that_are_switched_off_or_get_another_password_lose_their_calls() {
    let cluster = Cluster::start();
    edit(&cluster, all_rules);
    let node = &cluster.nodes[2];
    let dinah = put_user(node, "dinah", "rabbit");
    let hatter = put_user(node, "hatter", "tea");
    let (mut off, mut changed) = (calls(&cluster, &dinah), calls(&cluster, &hatter));
    // The same password is no other one.
    put_user(&cluster.nodes[0], "hatter", "tea");
    let patch = UserPatch {
        disabled: Some(true),
        reason: "test".to_owned(),
        ..UserPatch::default()
    };
    let (admin, realm) = (cluster.nodes[1].admin(), realm());
    admin
        .call(|api| api.patch_user(&realm, "dinah", &patch))
        .unwrap();
    all_end(&mut off);
    all_go_on(&mut changed);
    let new = put_user(&cluster.nodes[1], "hatter", "more tea");
    all_end(&mut changed);
    all_go_on(&mut calls(&cluster, &new));
}

#[test]
fn what_turnadmin_and_redis_cli_delete_ends_calls_too() {
    let cluster = Cluster::start();
    edit(&cluster, all_rules);
    let db = UserDb::Redis(format!("ip=127.0.0.1 port={} dbname=0", cluster.redis.port));
    for (name, password) in [("hatter", "tea"), ("cheshire", "grin"), ("hare", "march")] {
        turnadmin(&db, &["-a", "-u", name, "-r", REALM, "-p", password]);
    }
    let mut by_turnadmin = calls(&cluster, &Login::new("hatter", "tea"));
    let mut by_hand = calls(&cluster, &Login::new("cheshire", "grin"));
    let mut another = calls(&cluster, &Login::new("hare", "march"));
    turnadmin(&db, &["-d", "-u", "hatter", "-r", REALM]);
    all_end(&mut by_turnadmin);
    let key = format!("turn/realm/{REALM}/user/cheshire/key");
    assert_eq!(cluster.redis.cli(&["DEL", &key]), "1");
    all_end(&mut by_hand);
    all_go_on(&mut another);
    turnadmin(&db, &["-a", "-u", "hare", "-r", REALM, "-p", "april"]);
    all_end(&mut another);
}

#[test]
fn a_secret_that_is_removed_takes_its_calls_along() {
    let cluster = Cluster::start();
    edit(&cluster, all_rules);
    let value = "a-secret-that-will-be-removed";
    let create = SecretCreate {
        value: Some(value.to_owned()),
        ..SecretCreate::default()
    };
    let (admin, realm) = (cluster.nodes[0].admin(), realm());
    let created = admin
        .call(|api| api.create_secret(&realm, &create))
        .unwrap();
    let login = Login::rest(&format!("{}:carol", unix_now() + 3600), value);
    let mut gone = calls(&cluster, &login);
    let mut others = calls(&cluster, &rest_login("carol"));
    let (admin, id) = (cluster.nodes[1].admin(), created.secret.id);
    admin
        .call(|api| api.delete_secret(&realm, &id, "test"))
        .unwrap();
    all_end(&mut gone);
    // The same by another tool.
    let key = format!("turn/realm/{REALM}/secret");
    cluster.redis.cli(&["SADD", &key, value]);
    let mut gone = calls(&cluster, &login);
    cluster.redis.cli(&["SREM", &key, value]);
    all_end(&mut gone);
    all_go_on(&mut others);
}

#[test]
fn a_credential_that_expires_ends_its_call_only_where_the_realm_says_so() {
    let cluster = Cluster::start();
    let value = kit::node::SECRET;
    let short = || Login::rest(&format!("{}:carol", unix_now() + 3), value);
    let mut running = calls(&cluster, &short());
    for node in &cluster.nodes {
        wait_until("the credential to expire", SOON * 3, || {
            node.client(&Login::rest(&format!("{}:x", unix_now() - 1), value))
                .allocate()
                .is_err()
        });
    }
    let expired = unix_now() + 5;
    wait_until("the credential to expire", SOON * 5, || {
        unix_now() > expired
    });
    all_go_on(&mut running);
    edit(&cluster, |document| {
        document.revoke_on_credential_expiry = true
    });
    all_end(&mut running);
    let login = short();
    let end: u64 = login.username.split(':').next().unwrap().parse().unwrap();
    let mut running = calls(&cluster, &login);
    all_go_on(&mut running);
    wait_until("the credential to expire", SOON * 3, || unix_now() > end);
    all_end(&mut running);
}

#[test]
fn a_redis_that_is_away_or_emptied_ends_no_call_and_a_user_deleted_meanwhile_does() {
    let mut cluster = Cluster::start();
    edit(&cluster, all_rules);
    let dinah = put_user(&cluster.nodes[0], "dinah", "rabbit");
    let hatter = put_user(&cluster.nodes[0], "hatter", "tea");
    let value = "a-secret-that-will-be-lost";
    let secret = format!("turn/realm/{REALM}/secret");
    cluster.redis.cli(&["SADD", &secret, value]);
    let guest = Login::rest(&format!("{}:carol", unix_now() + 3600), value);
    let mut gone = calls(&cluster, &dinah);
    let mut others = calls(&cluster, &hatter);
    others.extend(calls(&cluster, &guest));
    cluster.redis.kill();
    all_go_on(&mut gone);
    cluster.redis.restart();
    cluster
        .redis
        .cli(&["DEL", &format!("turn/realm/{REALM}/user/dinah/key")]);
    for call in &mut gone {
        wait_until("the comparison", BACK, || call.refresh(600).is_err());
    }
    all_go_on(&mut others);

    cluster.redis.cli(&["FLUSHALL"]);
    refused(&cluster, &hatter);
    cluster.redis.restart_empty();
    // The operator puts the realm back first, then a user: nobody is revoked by that.
    for node in &cluster.nodes {
        wait_until("the nodes to be back", BACK, || {
            let listed = node.ctl().items(&["node", "list"]);
            listed.iter().filter(|row| row["state"] == "ready").count() == 3
        });
    }
    for node in &cluster.nodes {
        wait_until("the node to say so", BACK, || {
            node.log()
                .contains("the store was emptied or replaced, and")
        });
    }
    edit(&cluster, all_rules);
    put_user(&cluster.nodes[0], "dinah", "rabbit");
    refused(&cluster, &hatter);
    let compared = std::time::Instant::now() + Duration::from_secs(11);
    wait_until("two comparisons", BACK, || {
        std::time::Instant::now() > compared
    });
    all_go_on(&mut others);
    // Who is there again can be removed again.
    put_user(&cluster.nodes[0], "hatter", "tea");
    let (hatters, guests) = others.split_at_mut(3);
    all_go_on(&mut calls(&cluster, &hatter));
    wait_until("the comparison", BACK, || {
        delete_user(&cluster.nodes[1], "hatter");
        let ended = hatters.iter_mut().all(|call| call.refresh(600).is_err());
        if !ended {
            put_user(&cluster.nodes[1], "hatter", "tea");
        }
        ended
    });
    all_go_on(guests);
}

/// Whether a secret of this value is in coturn's set.
fn coturn_has(cluster: &Cluster, value: &str) -> bool {
    let key = format!("turn/realm/{REALM}/secret");
    cluster.redis.cli(&["SMEMBERS", &key]).contains(value)
}

fn change_secret(at: &Node, verb: &[&str], id: &str) {
    let rest = [id, "-r", REALM, "--yes"];
    let answer = at.ctl().run(&[&["secret"], verb, &rest].concat());
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
}

#[test]
fn a_secret_is_rotated_without_a_call_lost_and_its_usage_falls_to_none() {
    let cluster = Cluster::start();
    edit(&cluster, all_rules);
    let [first, second, third] = &cluster.nodes[..] else {
        panic!()
    };
    let add = |pending: &[&str]| {
        let add = ["secret", "add", "-r", REALM, "--yes"];
        let answer = first.ctl().json(&[&add, pending].concat());
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        (text("id"), text("value"))
    };
    let good_for_an_hour =
        |user: &str, value: &str| Login::rest(&format!("{}:{user}", unix_now() + 3600), value);
    let minted_with = |value: &str| {
        let mint = ["credential", "mint", "--user", "carol", "-r", REALM];
        let minted = second.ctl().json(&mint);
        let name = minted["username"].as_str().unwrap();
        Login::rest(name, value).password == minted["credential"]
    };
    let (old_id, old) = add(&["--label", "2026"]);
    let mut running = calls(&cluster, &good_for_an_hour("carol", &old));
    assert!(minted_with(&old));

    let (new_id, new) = add(&["--label", "2027", "--pending"]);
    refused(&cluster, &good_for_an_hour("carol", &new));
    assert!(coturn_has(&cluster, &old) && !coturn_has(&cluster, &new));
    assert!(minted_with(&old));

    change_secret(second, &["activate"], &new_id);
    let mut fresh = calls(&cluster, &good_for_an_hour("dave", &new));
    wait_until("the next secret to be minted with", SOON, || {
        minted_with(&new)
    });
    change_secret(third, &["retire"], &old_id);
    wait_until("nothing else to be minted with", SOON, || minted_with(&new));
    all_go_on(&mut running);
    all_go_on(&mut calls(&cluster, &good_for_an_hour("erin", &old)));

    let usage = || {
        let page = third
            .ctl()
            .items(&["secret", "usage", &old_id, "-r", REALM]);
        assert_eq!(page.len(), 1, "{page:?}");
        let number = |key: &str| page[0][key].as_u64().unwrap();
        (number("sessions"), number("users"), page[0].clone())
    };
    wait_until("three nodes to tell", SOON, || {
        let (sessions, users, row) = usage();
        let last_used = row["last_used_at_ms"].as_u64().unwrap_or(0);
        assert_eq!(row["state"], "retiring");
        users == 2 && sessions == 6 && unix_now() * 1000 - last_used < 60_000
    });
    for call in &mut running {
        call.refresh(0).unwrap();
    }
    wait_until("the use to fall", SOON, || usage().0 == 3);
    change_secret(first, &["retire", "--now"], &old_id);
    refused(&cluster, &good_for_an_hour("carol", &old));
    wait_until("nobody to use it", SOON, || usage().0 == 0);
    assert!(coturn_has(&cluster, &new) && !coturn_has(&cluster, &old));
    all_go_on(&mut fresh);
    // Not lost yet: it can come back, and be removed in the end.
    change_secret(first, &["activate"], &old_id);
    calls(&cluster, &good_for_an_hour("carol", &old));
    change_secret(first, &["rm"], &old_id);
    refused(&cluster, &good_for_an_hour("carol", &old));
}
