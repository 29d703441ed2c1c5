//! One suite for both stores: what `trait Store` promises, checked against SQLite and against a
//! real `redis-server` under the ACL rules that ship.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod cluster;
mod credentials;
mod documents;
mod foreign;
mod mailboxes;
mod quotas;
mod realms;
mod redis_only;
mod roles;
mod sentinel;
mod sqlite_only;
mod trail;
mod users;
mod world;

/// Makes two tests of each case: one per store.
macro_rules! for_both_stores {
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
pub(crate) use for_both_stores;
