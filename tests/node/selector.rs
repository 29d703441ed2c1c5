//! The worker of a client is a function of its address: ours, and the kernel's, must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kit::node::{Node, NodeOptions, SECRET, unix_now};
use kit::wait::wait_for;
use relay::udp::selector::worker_of;

#[test]
fn for_300_clients_the_computed_worker_is_the_one_that_the_kernel_chose() {
    const WORKERS: u16 = 4;
    let node = Node::start(NodeOptions {
        workers: WORKERS,
        ..NodeOptions::default()
    });
    let login = kit::client::Login::rest(&(unix_now() + 3600).to_string(), SECRET);
    let mut clients: Vec<_> = (0..300).map(|_| node.client(&login)).collect();
    for client in &mut clients {
        client.allocate().unwrap();
    }
    let ctl = node.ctl();
    let rows = wait_for("all sessions to be listed", Duration::from_secs(20), || {
        let rows = ctl.items(&["session", "list", "--limit", "1000"]);
        (rows.len() == clients.len()).then_some(rows)
    });
    let chosen: BTreeMap<String, u64> = rows
        .iter()
        .map(|row| {
            (
                row["client"].as_str().unwrap().to_owned(),
                row["worker"].as_u64().unwrap(),
            )
        })
        .collect();
    for client in &clients {
        let computed = worker_of(client.local(), WORKERS);
        let chosen = chosen[&client.local().to_string()];
        assert_eq!(u64::from(computed.0), chosen, "client {}", client.local());
    }
    let used: BTreeSet<&u64> = chosen.values().collect();
    assert_eq!(
        used.len(),
        usize::from(WORKERS),
        "every worker has clients: {used:?}"
    );
}
