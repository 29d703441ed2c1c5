//! Refusals one by one, as operators look for them.

use std::net::Ipv4Addr;
use std::time::Duration;

use kit::client::Login;
use kit::node::{Node, NodeOptions, REALM, USER, stored_login};
use kit::wait::wait_for;
use relayctl::client::{AdminApi as _, FleetApi as _};
use shared::api::{ListQuery, Page, RefusalView};

/// Workers tell once a second.
const SOON: Duration = Duration::from_secs(5);

fn listed(node: &Node, filter: &str) -> Option<Page<RefusalView>> {
    let query = ListQuery {
        filter: Some(filter.to_owned()),
        ..ListQuery::default()
    };
    let page = node
        .admin()
        .call(|api| api.recent_refusals(&query))
        .unwrap();
    (page.matched > 0).then_some(page)
}

#[test]
fn a_wrong_password_is_listed_with_source_and_name() {
    let node = Node::start(NodeOptions::default());
    let hostile = "eve\u{1b}[31m";
    let mut wrong = node.client(&Login::new(hostile, "guess"));
    assert_eq!(wrong.allocate().unwrap_err().code(), Some(401));
    let page = wait_for("the refusal", SOON, || listed(&node, "reason=unknown_user"));
    let row = &page.items[0];
    assert_eq!(row.source, wrong.local());
    assert_eq!(row.user.as_deref(), Some(hostile));
    assert_eq!(row.realm.as_ref().map(|realm| realm.as_str()), Some(REALM));
    assert_eq!((row.code, row.count), (Some(401), 1));
    assert_eq!(page.total, 1, "the challenge is no refusal");
    let shown = node.ctl().items(&["event", "list"]);
    assert!(
        shown
            .iter()
            .all(|event| !event.to_string().contains('\u{1b}'))
    );
}

#[test]
fn what_a_session_was_refused_is_in_its_details() {
    let options = NodeOptions {
        allowed_peers: None,
        ..NodeOptions::default()
    };
    let node = Node::start(options);
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    for host in 1..=3 {
        let peer = Ipv4Addr::new(10, 0, 0, host).into();
        assert_eq!(client.permit(&[peer]).unwrap_err().code(), Some(403));
    }
    assert_eq!(client.allocate().unwrap_err().code(), Some(437));
    let page = wait_for("all of them", SOON, || {
        listed(&node, "user=alice").filter(|page| page.matched == 4)
    });
    let session = page.items[0].session.unwrap().to_string();
    let detail = node.admin().call(|api| api.session(&session)).unwrap();
    let told: Vec<_> = detail
        .refusals
        .iter()
        .map(|row| (row.reason.as_str(), row.peer.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("allocation_exists", None),
            ("denied_peer", Some("10.0.0.3")),
            ("denied_peer", Some("10.0.0.2")),
            ("denied_peer", Some("10.0.0.1")),
        ]
    );
    assert_eq!(detail.session.user, USER.0);
}
