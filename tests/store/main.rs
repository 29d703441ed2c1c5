//! One suite for both stores: what `trait Store` promises, checked against SQLite and against a
//! real `redis-server` under the ACL rules that ship, alone and as a cluster.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod cluster;
mod credentials;
mod documents;
mod foreign;
mod glance;
mod mailboxes;
mod quotas;
mod realms;
mod redis_cluster;
mod redis_moves;
mod redis_only;
mod revisions;
mod roles;
mod sentinel;
mod sqlite_only;
mod trail;
mod users;
mod world;

/// Makes two tests of each case, one per store: of those for which coturn's own tools are needed,
/// which know no Redis Cluster.
macro_rules! for_coturns_stores {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&$crate::world::World::sqlite()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&$crate::world::World::redis()).await;
            })*
        }
    };
}
pub(crate) use for_coturns_stores;

/// Makes three tests of each case: one per store, and one on a Redis Cluster.
macro_rules! for_both_stores {
    ($($case:ident),* $(,)?) => {
        $crate::for_coturns_stores!($($case),*);
        mod redis_cluster {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&$crate::world::World::redis_cluster()).await;
            })*
        }
    };
}
pub(crate) use for_both_stores;
