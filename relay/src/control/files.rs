//! Small files in the state directory, readable by their owner only.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys;

/// Reads what [`write_private`] wrote; `None` where there is nothing that can be read.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = std::fs::read(path).ok()?;
    match serde_json::from_slice(&text) {
        Ok(content) => Some(content),
        Err(error) => {
            let file = path.display();
            tracing::warn!(%file, %error, "a file of an earlier run is unreadable and ignored");
            None
        }
    }
}

/// Writes a file that only its owner can read, as a whole or not at all.
pub(super) fn write_private(path: &Path, content: &impl Serialize) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let text = serde_json::to_vec_pretty(content)?;
    // A name of its own: two writers may meet here, and each must rename what it wrote.
    let temporary = path.with_extension(keys::hex(&keys::random::<8>()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(&text)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    written.inspect_err(|_| {
        // A full disk must not get fuller with each attempt.
        let _ = std::fs::remove_file(&temporary);
    })
}
