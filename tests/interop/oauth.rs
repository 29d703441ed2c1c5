//! Third-party authorization (RFC 7635) with coturn's tool: tokens of `turnutils_oauth`.

use std::time::Duration;

use kit::coturn::{FOR_UCLIENT, Uclient, Way};
use kit::node::{Node, NodeOptions, REALM, stored_login};
use kit::oauth::{KEYS, Token};
use relayctl::client::AdminApi;
use shared::api::OauthKeyPut;

use crate::uclient::{assert_at_least, in_turn};

/// Runs of uclient take a few seconds of its own pacing.
const DEADLINE: Duration = Duration::from_secs(120);
/// What uclient makes its tokens for.
pub(crate) const SERVER_NAME: &str = "blackdow.carleon.gov";
fn node() -> Node {
    let node = Node::start(NodeOptions {
        top: format!("{FOR_UCLIENT}oauth = true\nserver_name = \"{SERVER_NAME}\"\n"),
        max_sessions_per_user: Some(2),
        ..NodeOptions::default()
    });
    add_keys(&node);
    node
}

/// Gives a node the keys of uclient.
pub(crate) fn add_keys(node: &Node) {
    for (kid, key, algorithm) in KEYS {
        let put = OauthKeyPut {
            key: Some(key.to_owned()),
            algorithm,
            ..OauthKeyPut::default()
        };
        let put = &put;
        let created = node
            .admin()
            .call(|api| async move { api.put_oauth_key(kid, put).await });
        assert_eq!(
            created.unwrap().key,
            None,
            "a key that was given is not shown"
        );
    }
}

#[test]
fn tokens_of_coturns_tool_are_accepted_for_this_server_alone() {
    let node = node();
    let allocate = |token: &Token| token.allocate(node.turn, REALM, SERVER_NAME);
    for key in KEYS {
        let token = Token::made_by_coturn(key, SERVER_NAME);
        // A key that was added is good within a second.
        kit::wait::wait_until("the key to be good", Duration::from_secs(5), || {
            allocate(&token) == Ok(600)
        });
        let other = Token::made_by_coturn(key, "other.gov");
        assert_eq!(allocate(&other), Err(401), "{}", key.0);
    }
    // A key that is gone opens nothing, within a second.
    let token = Token::made_by_coturn(KEYS[0], SERVER_NAME);
    let deleted = node
        .ctl()
        .run(&["--yes", "oauth", "key", "delete", KEYS[0].0]);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    kit::wait::wait_until("the key to be forgotten", Duration::from_secs(5), || {
        allocate(&token) == Err(401)
    });
    let listed = node.ctl().run(&["oauth", "key", "list"]).stdout;
    assert!(
        listed.contains("union") && !listed.contains("MTIz"),
        "{listed}"
    );
}

/// Each Allocate and Refresh of uclient brings a new token, of a key that it draws.
#[test]
fn coturns_client_loses_nothing_with_tokens_of_three_keys_in_turn() {
    let _turn = in_turn();
    let node = node();
    for way in [Way::Channels, Way::Indications] {
        let uclient = Uclient {
            server: node.turn,
            login: stored_login(),
            way,
            clients: 5,
            messages: 50,
            flags: &["-J"],
            peer: None,
        };
        let totals = uclient.run(DEADLINE);
        assert_at_least(250, &totals);
        assert_eq!(totals.refusals, [0_u16; 0], "{}", totals.text);
    }
}
