//! The look at the registry that each node takes each second, at a cost that does not grow with the number
//! of nodes: one script over the list of nodes, and the records of those that changed or whose turn it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{cmd, pipe};
use shared::NodeId;
use shared::api::NodeView;

use super::{Inner, cluster, schema};
use crate::store::record::from_json;
use crate::store::registry::{Glance, Mark, Seen, identity};
use crate::store::{NODE_SILENT, StoreError};

/// How long the list of changes says that a record changed.
pub(super) const CHANGES_LISTED: Duration = Duration::from_secs(600);
/// How far back a look goes behind the one before: clocks of servers that follow each other differ.
const OVERLAP_MS: f64 = 2000.0;
/// After such a pause everything is read: the list of changes may have forgotten some.
const LONGEST_PAUSE_MS: f64 = 300_000.0;

/// Lists nodes that changed and nodes that are silent. Keys: nodes, changes; arguments: where the last
/// look ended, the silence, both in milliseconds. Answers the time, how many nodes there are, the
/// silent ones with their scores, and the changed ones.
const LOOK: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
return {t[1], t[2], redis.call('ZCARD', KEYS[1]),
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2], 'WITHSCORES'),
  redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], '+inf')}";

type Looked = (u64, u64, u64, Vec<String>, Vec<String>);

/// What the records said that this process wrote: a beat tells the others where that changes.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<NodeId, [u8; 32]>>);

impl Told {
    /// What there is to tell: the identity of `record`, unless the others know it.
    pub(super) fn news(&self, record: &NodeView) -> Result<Option<[u8; 32]>, StoreError> {
        let identity = identity(record)?;
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((told.get(&record.id) != Some(&identity)).then_some(identity))
    }

    /// It is told.
    pub(super) fn tell(&self, node: &NodeId, identity: [u8; 32]) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(node.clone(), identity);
    }
}

pub(super) async fn glance(inner: &Inner, seen: &Seen) -> Result<Glance, StoreError> {
    let Some(before) = seen.mark else {
        return whole(inner).await;
    };
    let mut look = cmd("EVAL");
    look.arg(LOOK)
        .arg(2)
        .arg(schema::NODES)
        .arg(schema::NODES_CHANGED)
        .arg(before.at_ms - OVERLAP_MS)
        .arg(NODE_SILENT.as_millis() as u64);
    let (secs, micros, listed, silent, changed): Looked = inner.link.query(&look).await?;
    let now = Duration::new(secs, 0) + Duration::from_micros(micros);
    let at_ms = now.as_secs_f64() * 1000.0;
    // Another server's clock, or a list that lost or won somebody whom no change names.
    let is_odd = !(0.0..LONGEST_PAUSE_MS).contains(&(at_ms - before.at_ms));
    let grew = listed.saturating_sub(before.listed);
    if is_odd || listed < before.listed || grew > changed.len() as u64 {
        return whole(inner).await;
    }
    let silent = silent.chunks_exact(2).filter_map(|pair| {
        let age = cluster::age(now, pair[1].parse().ok()?)?;
        Some((pair[0].parse().ok()?, age))
    });
    let wanted: BTreeSet<NodeId> = changed
        .iter()
        .filter_map(|id| id.parse().ok())
        .chain(seen.turn.iter().cloned())
        .collect();
    let mut reads = pipe();
    for id in &wanted {
        reads.cmd("HGET").arg(schema::node(id)).arg("record");
    }
    let records: Vec<Option<String>> = inner.link.pipe(&reads).await?;
    let (mut nodes, mut gone) = (Vec::new(), Vec::new());
    for (id, text) in wanted.into_iter().zip(records) {
        match text {
            Some(text) => nodes.push(from_json::<NodeView>("node", &text)?),
            None => gone.push(id),
        }
    }
    Ok(Glance::Part {
        nodes,
        gone,
        silent: silent.collect(),
        mark: Mark { at_ms, listed },
    })
}

async fn whole(inner: &Inner) -> Result<Glance, StoreError> {
    let (now, listed, nodes) = cluster::listed(inner).await?;
    let mark = Mark {
        at_ms: now.as_secs_f64() * 1000.0,
        listed,
    };
    Ok(Glance::Whole {
        nodes,
        mark: Some(mark),
    })
}
