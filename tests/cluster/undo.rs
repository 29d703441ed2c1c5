//! Changes of a realm on three nodes: which revision each of them applies, and the way back.

use std::time::Duration;

use kit::client::TurnClient;
use kit::cluster::{Cluster, IDS};
use kit::node::{Node, REALM, stored_login};
use kit::wait::{wait_for, wait_until};
use relayctl::client::{AdminApi as _, ClientError, FleetApi as _};
use shared::Realm;
use shared::api::{ErrorKind, RealmDiffQuery, RealmDocument, RealmPut, RealmUndo, RealmView};

/// What is promised is a second; a debug build on a busy machine gets more.
const SOON: Duration = Duration::from_secs(5);

fn realm() -> Realm {
    REALM.parse().unwrap()
}

fn view(node: &Node) -> RealmView {
    let realm = realm();
    node.admin().call(|api| api.realm(&realm)).unwrap()
}

/// Writes a new document at `node`, and answers its revision: again, where the node has not heard of
/// the latest one yet.
fn edit(node: &Node, reason: &str, change: impl Fn(&mut RealmDocument)) -> u64 {
    wait_for("the edit", SOON, || {
        let (now, realm) = (view(node), realm());
        let mut document = now.document;
        change(&mut document);
        let put = RealmPut {
            document,
            reason: reason.to_owned(),
        };
        let put = node
            .admin()
            .call(|api| api.put_realm(&realm, now.revision, &put));
        match put {
            Ok(view) => Some(view.revision),
            Err(ClientError::Api(error)) if error.error == ErrorKind::RevisionConflict => None,
            Err(error) => panic!("{error}"),
        }
    })
}

fn undo(node: &Node, expected: u64, to: Option<u64>) -> Result<RealmView, ClientError> {
    let (realm, undo) = (
        realm(),
        RealmUndo {
            revision: to,
            reason: "it was wrong".to_owned(),
        },
    );
    node.admin()
        .call(|api| api.undo_realm(&realm, expected, &undo))
}

/// Whether a second session of the user is refused.
fn is_limited(node: &Node) -> bool {
    let mut client: TurnClient = node.client(&stored_login());
    let answer = client.allocate();
    let _ = client.refresh(0);
    answer.is_err_and(|error| error.code() == Some(486))
}

/// Waits until the asked node says that all apply `revision`, and answers after how long.
fn applied_everywhere(node: &Node, revision: u64) -> Duration {
    let begun = std::time::Instant::now();
    wait_until("all nodes to apply it", SOON, || {
        let view = view(node);
        view.applied.len() == IDS.len() && view.applied.iter().all(|one| one.revision == revision)
    });
    begun.elapsed()
}

#[expect(clippy::print_stderr, reason = "the time is the result")]
fn report(slowest: Duration) {
    eprintln!("applied and told by all three nodes after {slowest:?} at most");
}

#[test]
fn every_node_tells_which_revision_it_applies_and_who_is_cut_off_lags() {
    let cluster = Cluster::start();
    let mut slowest = Duration::ZERO;
    for round in 0..5_u32 {
        let node = &cluster.nodes[round as usize % 3];
        let revision = edit(node, "", |document| {
            document.max_sessions = Some(100 + round)
        });
        slowest = slowest.max(applied_everywhere(&cluster.nodes[2], revision));
    }
    report(slowest);
    let names: Vec<_> = view(&cluster.nodes[0]).applied;
    let names: Vec<_> = names.iter().map(|one| one.node.as_str()).collect();
    assert_eq!(names, IDS);
    // One that stands still hears of nothing.
    cluster.nodes[1].signal("STOP");
    let revision = edit(&cluster.nodes[0], "", |document| {
        document.max_sessions = Some(7)
    });
    let lagging = wait_for("the one that lags", SOON, || {
        let view = view(&cluster.nodes[2]);
        let lagging: Vec<_> = view.lagging().cloned().collect();
        (lagging.len() == 1).then_some(lagging)
    });
    assert_eq!(lagging[0].node.as_str(), IDS[1]);
    assert_eq!(lagging[0].revision, revision - 1);
    let shown = cluster.nodes[2].ctl().run(&["realm", "show", REALM]);
    assert!(
        shown.stdout.contains("2 of 3 nodes; fra1 has"),
        "{}",
        shown.stdout
    );
    cluster.nodes[1].signal("CONT");
    applied_everywhere(&cluster.nodes[0], revision);
}

#[test]
fn a_change_is_undone_on_every_node_and_the_undo_too() {
    let cluster = Cluster::start();
    let [first, second, third] = &cluster.nodes[..] else {
        panic!()
    };
    let mut call = first.client(&stored_login());
    call.allocate().unwrap();
    let before = edit(first, "as it was", |document| document.note = "ours".into());
    let wrong = edit(second, "a typing error", |document| {
        document.max_sessions_per_user = Some(1)
    });
    wait_until("the limit to hold", SOON, || is_limited(first));

    let (realm, query) = (realm(), RealmDiffQuery::default());
    let diff = third.admin().call(|api| api.realm_diff(&realm, &query));
    let diff = diff.unwrap();
    assert_eq!((diff.from, diff.to), (before, wrong));
    assert_eq!(diff.changes.len(), 1, "{diff:?}");
    assert_eq!(diff.changes[0].field, "max_sessions_per_user");
    assert_eq!(diff.changes[0].after, 1);

    let stale = undo(third, before, None).unwrap_err();
    let ClientError::Api(stale) = stale else {
        panic!("{stale}")
    };
    assert_eq!(
        (stale.error, stale.current_revision),
        (ErrorKind::RevisionConflict, Some(wrong))
    );
    let undone = undo(third, wrong, None).unwrap();
    assert_eq!(undone.revision, wrong + 1);
    assert_eq!(undone.document.note, "ours");
    wait_until("the limit to be gone", SOON, || !is_limited(first));
    undo(second, wrong + 1, None).unwrap();
    wait_until("the limit to hold again", SOON, || is_limited(first));
    undo(first, wrong + 2, Some(before)).unwrap();
    wait_until("it to be gone again", SOON, || !is_limited(first));

    let rows = second.ctl().items(&["realm", "history", REALM]);
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["revision"].as_u64().unwrap(),
                row["reason"].as_str().unwrap(),
            )
        })
        .collect();
    let text = format!("undo to revision {before}: it was wrong");
    assert_eq!(told[0], (wrong + 3, text.as_str()));
    assert_eq!(told[3], (wrong, "a typing error"));
    assert_eq!(rows[3]["changed"][0], "max_sessions_per_user");
    wait_until(
        "three in the audit, and the one that was refused",
        SOON,
        || {
            second
                .ctl()
                .items(&["audit", "-f", "action=realm.undo"])
                .len()
                == 4
        },
    );
    assert_eq!(call.refresh(600).unwrap(), 600);
}

#[test]
fn a_deleted_realm_comes_back_with_its_next_revision() {
    let cluster = Cluster::start();
    let [first, second, _] = &cluster.nodes[..] else {
        panic!()
    };
    let revision = edit(first, "", |document| document.note = "kept".into());
    wait_until("the other node to have it", SOON, || {
        view(second).revision == revision
    });
    let ctl = second.ctl();
    let removed = ctl.run(&["realm", "rm", REALM, "--yes", "--reason", "mistake"]);
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    // The file has the realm, too: it is served on, with the file's document.
    wait_until("the document to be gone", SOON, || {
        view(first).revision == 0
    });
    for node in &cluster.nodes {
        assert!(!node.log().contains("the store was emptied"));
    }
    let nothing = undo(first, revision, None).unwrap_err();
    assert!(matches!(nothing, ClientError::Api(e) if e.current_revision == Some(0)));
    let back = undo(first, 0, None).unwrap();
    assert_eq!(
        (back.revision, back.document.note.as_str()),
        (revision + 2, "kept")
    );
    let rows = ctl.items(&["realm", "history", REALM]);
    assert_eq!(rows[1]["deleted"], true);
    assert_eq!(rows[1]["reason"], "mistake");
    // What was before it is a deletion: to undo the return means to delete.
    let refused = undo(first, revision + 2, None).unwrap_err().to_string();
    assert!(refused.contains("delete it"), "{refused}");
}
