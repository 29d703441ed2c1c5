//! The operator's editor: how it is run, and the files that hold what is typed in it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The largest text that is taken back, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// `$VISUAL`, `$EDITOR` or `vi` with `file`.
pub(crate) fn command(file: &Path) -> Command {
    let variable = |name| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    let editor = variable("VISUAL")
        .or_else(|| variable("EDITOR"))
        .unwrap_or_else(|| "vi".to_owned());
    // An editor is a command line, as in `code --wait`, so a shell splits it.
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file);
    command
}

/// A new private file with `text`, which stays.
///
/// # Errors
/// It cannot be written.
pub(crate) fn new_file(text: &str) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new()
        .prefix("relayctl-realm-")
        .suffix(".toml")
        .tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}

/// What is in the file now. By name: many editors write a new file and rename it.
///
/// # Errors
/// It is gone, too large or no UTF-8.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?
        .take(MAX_TEXT + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TEXT {
        return Err(io::Error::other("more than 1 MiB of text"));
    }
    Ok(text)
}

/// Writes `text` into a new private file of the working directory, else of the one for temporary
/// files, whose name begins with `prefix`.
///
/// # Errors
/// Neither directory takes it.
pub(crate) fn save(prefix: &str, text: &str) -> io::Result<PathBuf> {
    let keep = |directory: &Path| {
        let mut file = tempfile::Builder::new()
            .prefix(prefix)
            .suffix(".txt")
            .tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        let (_, path) = file.keep().map_err(|error| error.error)?;
        Ok(path)
    };
    let here = std::env::current_dir().and_then(|directory| keep(&directory));
    here.or_else(|_: io::Error| keep(&std::env::temp_dir()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn texts_are_kept_in_files_that_nobody_else_reads() {
        let path = new_file("max_sessions = 5\n").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read(&path).unwrap(), "max_sessions = 5\n");
        std::fs::write(&path, "x".repeat(MAX_TEXT as usize + 1)).unwrap();
        assert!(read(&path).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
