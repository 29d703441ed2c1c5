//! Bans and blocks that the store has not yet, on disk: they hold after a restart, too.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use shared::api::{BanKind, BlockView};

use super::bans::{BannedNets, StoredBan};
use super::files;
use super::hub::Hub;

/// Its name in the state directory.
const FILE: &str = "bans.json";

/// What the store has not yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Local {
    /// Networks.
    pub bans: Vec<StoredBan>,
    /// Users.
    pub blocks: Vec<BlockView>,
}

impl Local {
    /// What an earlier start left, but for what has ended meanwhile.
    #[must_use]
    pub(super) fn read(state_dir: &Path, now_ms: u64) -> Self {
        let mut local: Self = files::read_json(&state_dir.join(FILE)).unwrap_or_default();
        local.bans.retain(|ban| ban.until_ms > now_ms);
        local.blocks.retain(|block| block.until_ms > now_ms);
        local
    }

    fn is_empty(&self) -> bool {
        self.bans.is_empty() && self.blocks.is_empty()
    }

    /// The networks, as the policy has them.
    #[must_use]
    pub(super) fn nets(&self) -> BannedNets {
        let of = |kind| {
            let bans = self.bans.iter().filter(|ban| ban.kind == kind);
            bans.map(|ban| ban.net).collect()
        };
        BannedNets {
            clients: of(BanKind::Client),
            peers: of(BanKind::Peer),
        }
    }
}

/// What the file has.
#[derive(Debug, Default)]
pub(super) struct OnDisk(Mutex<Local>);

impl OnDisk {
    /// As it was read.
    #[must_use]
    pub(super) fn new(local: Local) -> Self {
        Self(Mutex::new(local))
    }

    /// Writes what `gather` finds, where the file has something else. Gathered under the lock: of two
    /// that find different things the later one writes last.
    fn follow(&self, file: &Path, gather: impl FnOnce() -> Local) -> std::io::Result<()> {
        let mut on_disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let local = gather();
        if *on_disk == local {
            return Ok(());
        }
        let kept = match local.is_empty() {
            true => std::fs::remove_file(file),
            false => files::write_private(file, &local),
        };
        match kept {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => {
                *on_disk = local;
                Ok(())
            }
        }
    }
}

/// Brings the file up to date: there is none where the store has everything.
pub(super) fn keep(hub: &Hub) {
    if hub.parts.elder_of.is_some() {
        // The state directory is the next process's by now.
        return;
    }
    let file = hub.config().state_dir.join(FILE);
    let kept = hub.local.follow(&file, || Local {
        bans: hub.bans.waiting(),
        blocks: hub.keeper.waiting_blocks(),
    });
    if let Err(error) = kept {
        tracing::warn!(%error, "the file of bans that the store has not yet is not up to date");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_has_ended_is_not_read_and_what_is_unreadable_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Local::read(dir.path(), 0), Local::default());
        let ban = |until_ms| StoredBan {
            kind: BanKind::Client,
            net: "192.0.2.0/24".parse().unwrap(),
            until_ms,
            reason: "flood".to_owned(),
            by: "unix:0".to_owned(),
            rest: serde_json::Map::new(),
        };
        let local = Local {
            bans: vec![ban(1000), ban(3000)],
            blocks: Vec::new(),
        };
        let file = dir.path().join(FILE);
        files::write_private(&file, &local).unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "its owner's alone");
        let read = Local::read(dir.path(), 2000);
        assert_eq!(read.bans, [ban(3000)]);
        assert_eq!(read.nets().clients, [ban(3000).net]);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Local::read(dir.path(), 2000), Local::default());
    }

    #[test]
    fn of_two_at_the_same_time_the_later_finding_stays_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (file, on_disk) = (dir.path().join(FILE), OnDisk::default());
        // How many bans there are: what both find.
        let there = std::sync::atomic::AtomicU64::new(0);
        let find = || Local {
            bans: (0..there.load(std::sync::atomic::Ordering::SeqCst))
                .map(|number| StoredBan {
                    kind: BanKind::Client,
                    net: "192.0.2.0/24".parse().unwrap(),
                    until_ms: 10_000 + number,
                    reason: String::new(),
                    by: "unix:0".to_owned(),
                    rest: serde_json::Map::new(),
                })
                .collect(),
            blocks: Vec::new(),
        };
        for round in 0..50 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        there.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        on_disk.follow(&file, find).unwrap();
                    });
                }
            });
            let read = Local::read(dir.path(), 0).bans.len();
            assert_eq!(read as u64, (round + 1) * 4, "the latest of all");
        }
    }
}
