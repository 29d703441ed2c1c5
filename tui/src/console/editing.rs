//! The terminal in the hands of the operator's editor.

use std::io;
use std::path::PathBuf;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::message::Written;
use crate::editor;

/// Runs the editor over `text` and takes back what it leaves. The terminal is the editor's by now:
/// raw mode and the alternate screen are left, and nobody of ours reads keys. `None`: whoever runs
/// us wants us to end.
pub(super) async fn edit(
    text: &str,
    file: Option<PathBuf>,
    stop: &CancellationToken,
) -> Option<Result<Written, String>> {
    let file = match prepare(text, file) {
        Ok(file) => file,
        Err(error) => return Some(Err(error.to_string())),
    };
    let mut child = match Command::from(editor::command(&file)).spawn() {
        Ok(child) => child,
        Err(error) => return Some(Err(error.to_string())),
    };
    let status = tokio::select! {
        status = child.wait() => status,
        () = stop.cancelled() => {
            // It may have ended by itself: its terminal is gone as well.
            let _ = child.start_kill();
            return None;
        }
    };
    let written = status.and_then(|status| {
        Ok(Written {
            text: editor::read(&file)?,
            file: file.clone(),
            saved: status.success(),
        })
    });
    Some(written.map_err(|error| format!("{}: {error}", file.display())))
}

/// The file with `text`, a new one unless there is one already.
fn prepare(text: &str, file: Option<PathBuf>) -> io::Result<PathBuf> {
    match file {
        None => editor::new_file(text),
        Some(file) => {
            std::fs::write(&file, text)?;
            Ok(file)
        }
    }
}
