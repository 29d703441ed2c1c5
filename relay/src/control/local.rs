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
}

/// Brings the file up to date: there is none where the store has everything.
pub(super) fn keep(hub: &Hub) {
    if hub.parts.elder_of.is_some() {
        // The state directory is the next process's by now.
        return;
    }
    let local = Local {
        bans: hub.bans.waiting(),
        blocks: hub.keeper.waiting_blocks(),
    };
    let mut on_disk = hub.local.0.lock().unwrap_or_else(PoisonError::into_inner);
    if *on_disk == local {
        return;
    }
    let file = hub.config().state_dir.join(FILE);
    let kept = match local.is_empty() {
        true => std::fs::remove_file(&file),
        false => files::write_private(&file, &local),
    };
    match kept {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, "the file of bans that the store has not yet is not up to date");
        }
        _ => *on_disk = local,
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
}
