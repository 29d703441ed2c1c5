//! Whom the process is: root binds, `proc_user` serves.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use anyhow::Context;
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setuid};

use crate::config::{Config, LogOutput, StoreConfig};
use crate::trusted;

/// The most entries of the state directory that are given away.
const MAX_FILES: usize = 10_000;

/// Becomes `proc_user` and `proc_group`, with everything that the node goes on to write. Nothing happens
/// where neither is set.
///
/// # Errors
/// There is no such user or group, or the process is not root's.
pub(super) fn give_up(config: &Config) -> anyhow::Result<()> {
    let process = &config.process;
    if process.user.is_none() && process.group.is_none() {
        return Ok(());
    }
    let user = process.user.as_deref().map(find_user).transpose()?;
    let group = process.group.as_deref().map(find_group).transpose()?;
    let gid = group.or(user.as_ref().map(|user| user.gid));
    let gid = gid.unwrap_or_else(Gid::current);
    let uid = user.as_ref().map_or_else(Uid::current, |user| user.uid);
    if !Uid::effective().is_root() {
        anyhow::ensure!(
            uid == Uid::current() && gid == Gid::current(),
            "proc_user and proc_group: only root becomes another user: start relayd as root, or remove them"
        );
        return Ok(());
    }
    hand_over(config, uid, gid)?;
    if let Some(user) = &user {
        let name = std::ffi::CString::new(user.name.as_str())?;
        initgroups(&name, gid).context("proc_user: its groups cannot be taken")?;
    }
    setgid(gid).context("proc_group cannot be taken")?;
    // Of all threads: the C library sees to it.
    setuid(uid).context("proc_user cannot be taken")?;
    tracing::info!(%uid, %gid, "Rights of root were given up.");
    Ok(())
}

fn find_user(name: &str) -> anyhow::Result<User> {
    let found = User::from_name(name).with_context(|| format!("proc_user {name}"))?;
    found.with_context(|| {
        format!("proc_user: there is no user {name}: make one with adduser --system")
    })
}

fn find_group(name: &str) -> anyhow::Result<Gid> {
    let found = Group::from_name(name).with_context(|| format!("proc_group {name}"))?;
    let found = found
        .with_context(|| format!("proc_group: there is no group {name}: make one with addgroup"))?;
    Ok(found.gid)
}

/// Files of the node that root made.
fn hand_over(config: &Config, uid: Uid, gid: Gid) -> anyhow::Result<()> {
    give(&config.state_dir, uid, gid)?;
    let entries = std::fs::read_dir(&config.state_dir).context("state_dir")?;
    for entry in entries.take(MAX_FILES) {
        give(&entry.context("state_dir")?.path(), uid, gid)?;
    }
    if let LogOutput::File(file) = &config.log.output {
        give_log(file, uid, gid)?;
    }
    if let StoreConfig::Sqlite { turndb, .. } = &config.store
        && !turndb.starts_with(&config.state_dir)
        && std::fs::metadata(turndb).is_ok_and(|file| file.uid() != uid.as_raw())
    {
        tracing::warn!(
            turndb = %turndb.display(),
            "store.turndb belongs to another user than proc_user: users can perhaps not be changed here."
        );
    }
    Ok(())
}

/// What the log is written to is reopened as that user. What a link leads to stays whose it is.
fn give_log(path: &Path, uid: Uid, gid: Gid) -> anyhow::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink()) {
        return Ok(());
    }
    let given = trusted::give(path, uid.as_raw(), gid.as_raw());
    match given {
        // It was moved away since.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        given => given.with_context(|| format!("{} cannot be given to proc_user", path.display())),
    }
}

/// A link of either kind is left alone: what it leads to may be anybody's, and whoever served before may
/// have made it.
fn give(path: &Path, uid: Uid, gid: Gid) -> anyhow::Result<()> {
    let Ok(file) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if file.is_symlink() || (!file.is_dir() && file.nlink() > 1) {
        return Ok(());
    }
    lchown(path, Some(uid.as_raw()), Some(gid.as_raw()))
        .with_context(|| format!("{} cannot be given to proc_user", path.display()))
}
