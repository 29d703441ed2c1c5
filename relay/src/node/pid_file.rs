//! The file with the process id, for init scripts.

use std::path::{Path, PathBuf};

/// There while the node serves; gone with it, unless another process has written its own since.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it. One that cannot be written is told of, and keeps nobody from serving.
    pub(super) fn write(path: &Path) -> Option<Self> {
        match std::fs::write(path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(Self(path.to_owned())),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%error, %path, "pid_file cannot be written: name another one.");
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        if std::fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == own) {
            // One that rights were given up for stays, and is overwritten by the next start.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
