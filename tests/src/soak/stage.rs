//! Three nodes around a Redis with a replica and sentinels, and peers that send everything back.

use std::net::IpAddr;

use super::callers::Places;
use crate::address::fresh_ip;
use crate::cluster::{IDS, cluster_key};
use crate::coturn::Peer;
use crate::node::{Node, NodeOptions};
use crate::sentinel::{MASTER, Sentinels};

/// Peers.
const PEERS: usize = 4;
/// Sessions that nobody refreshes are over soon: those of clients that vanished have to be gone before
/// the books are closed.
const LIFETIMES: &str = "default_allocate_lifetime = \"20s\"\nmin_allocate_lifetime = \"5s\"\n\
     max_allocate_lifetime = \"30s\"\n";

/// Everything that runs. Fields drop in order: nodes stop before their store does.
#[derive(Debug)]
pub(super) struct Stage {
    /// The nodes. The first is never stopped, so that what it collects shows.
    pub nodes: Vec<Node>,
    /// The store.
    pub store: Sentinels,
    peers: Vec<Peer>,
    /// Some clients call from here.
    pub outlaw: IpAddr,
    _key: tempfile::TempDir,
}

impl Stage {
    /// Starts everything.
    pub(super) fn start() -> Self {
        let store = Sentinels::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = cluster_key(&folder);
        let sentinels = format!("{:?}", store.list());
        let node = |id: &&str| {
            let mut node = Node::prepare(NodeOptions {
                id: (*id).to_owned(),
                // The kit writes a URL; the sentinels stand in the line behind it.
                redis: Some(format!("redis://{MASTER}/\"\nsentinels = {sentinels} #\"")),
                cluster_key: Some(key.clone()),
                top: LIFETIMES.to_owned(),
                ..NodeOptions::default()
            });
            node.launch();
            node
        };
        let mut nodes: Vec<Node> = IDS.iter().map(node).collect();
        for node in &mut nodes {
            node.wait_ready();
        }
        Self {
            nodes,
            store,
            peers: (0..PEERS).map(|_| Peer::start()).collect(),
            outlaw: fresh_ip(),
            _key: folder,
        }
    }

    /// Where clients call.
    pub(super) fn places(&self) -> Places {
        Places {
            servers: self.nodes.iter().map(|node| node.turn).collect(),
            peers: self.peers.iter().map(|peer| peer.address).collect(),
            outlaw: self.outlaw,
        }
    }

    /// Asks the server that is the master now.
    fn ask(&self, words: &[&str]) -> String {
        self.store.servers[self.store.master()].cli(words)
    }

    /// All keys of the store without an end.
    pub(super) fn lasting_keys(&self) -> Vec<String> {
        let script = "local lasting = {} for _, key in ipairs(redis.call('KEYS', 'relay:*')) do \
             if redis.call('PTTL', key) < 0 then table.insert(lasting, key) end end return lasting";
        let said = self.ask(&["EVAL", script, "0"]);
        let keys = said.lines().map(str::to_owned);
        keys.filter(|key| !key.is_empty()).collect()
    }

    /// What the nodes warned of.
    pub(super) fn warnings(&self) -> Vec<String> {
        let logs = self.nodes.iter().map(|node| (node.id(), node.log()));
        let warnings = logs.flat_map(|(id, log)| {
            let bad = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
            let lines = log.lines().filter(bad).map(|line| format!("{id}: {line}"));
            lines.collect::<Vec<_>>()
        });
        warnings.collect()
    }

    /// How many session records a node has there.
    pub(super) fn records(&self, node: &str) -> u64 {
        let key = format!("relay:node:{{{node}}}:sessions");
        self.ask(&["HLEN", &key]).parse().unwrap_or(u64::MAX)
    }
}
