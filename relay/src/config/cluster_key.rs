//! The key that all nodes of a cluster share: made, read, guarded.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use shared::Secret;

use super::Config;

/// Bytes of a cluster key.
pub const KEY_BYTES: usize = 32;

/// The most that is read of a file that holds one secret.
const MAX_SECRET_FILE_BYTES: u64 = 4096;

/// Why there is no cluster key.
#[derive(Debug, thiserror::Error)]
pub enum ClusterKeyError {
    /// The file cannot be read or written.
    #[error("cluster key {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could read it.
    #[error("cluster key {path}: {source}")]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// Who can, and the remedy.
        source: NotPrivate,
    },
    /// It holds something else.
    #[error("cluster key {path}: is not 64 hex digits; make one with `relayd cluster-key`")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// A file that others than its owner can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mode {mode:04o} lets others read it; run chmod 600 on it")]
pub struct NotPrivate {
    mode: u32,
}

/// A fresh key as it stands in a file: 64 hex digits.
///
/// # Errors
/// The system has no randomness.
pub fn generate() -> io::Result<String> {
    let mut bytes = [0_u8; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where a node keeps the key that it made itself.
pub(super) fn own_path(state_dir: &Path) -> PathBuf {
    state_dir.join("cluster-key")
}

/// The cluster key of a node: from the configured file; else, or where that is the same, from
/// `state_dir/cluster-key`, which is created with a fresh key, mode 0600, the first time.
///
/// # Errors
/// See [`ClusterKeyError`].
pub fn load_or_create(config: &Config) -> Result<Secret<[u8; KEY_BYTES]>, ClusterKeyError> {
    let path = own_path(&config.state_dir);
    if let Some(named) = config
        .cluster_key_file
        .as_ref()
        .filter(|named| **named != path)
    {
        return load(named);
    }
    match create(&config.state_dir, &path) {
        Ok(()) => {}
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(ClusterKeyError::Io { path, source }),
    }
    load(&path)
}

/// Makes a fresh key at `path` in `directory`, both private, unless there is one.
fn create(directory: &Path, path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    if path.exists() {
        return Ok(());
    }
    let key = generate()?;
    // Written beside and linked, so that a crash leaves no half a key and a race no two keys.
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    // What lies there is of a start that was cut off, or a link that somebody laid.
    let _ = std::fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(key.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    linked
}

/// Reads a key from `path`.
///
/// # Errors
/// See [`ClusterKeyError`].
pub fn load(path: &Path) -> Result<Secret<[u8; KEY_BYTES]>, ClusterKeyError> {
    let text = read_private(path).map_err(|error| match error {
        PrivateFileError::Io(source) => ClusterKeyError::Io {
            path: path.to_owned(),
            source,
        },
        PrivateFileError::NotPrivate(source) => ClusterKeyError::Unsafe {
            path: path.to_owned(),
            source,
        },
    })?;
    let malformed = || ClusterKeyError::Malformed {
        path: path.to_owned(),
    };
    parse_hex::<KEY_BYTES>(text.expose().trim())
        .map(Secret::new)
        .ok_or_else(malformed)
}

/// Exactly `N` bytes in hex.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0_u8; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

/// Why a file with a secret was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivateFileError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    NotPrivate(#[from] NotPrivate),
}

/// Reads a small file that holds a secret, unless group or others can read it too.
pub(super) fn read_private(path: &Path) -> Result<Secret<String>, PrivateFileError> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(NotPrivate { mode }.into());
    }
    let mut text = String::new();
    file.take(MAX_SECRET_FILE_BYTES).read_to_string(&mut text)?;
    Ok(Secret::new(text))
}
