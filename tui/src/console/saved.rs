//! Views that an operator saved: where, with which filter, order and columns. They live in a file of
//! their own below the state directory; the configuration is never written to.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// One saved view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SavedView {
    /// The command that opens it, without a filter.
    pub(crate) open: String,
    /// The filter.
    pub(crate) filter: String,
    /// Column and direction, as in `rate:desc`; empty: none.
    pub(crate) sort: String,
    /// Titles of the columns that were chosen, in order; empty: by room.
    pub(crate) columns: Vec<String>,
}

/// All of them, by name.
pub(crate) type SavedViews = BTreeMap<String, SavedView>;

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default)]
    views: SavedViews,
}

/// What the file holds; one that is not there holds nothing.
///
/// # Errors
/// It cannot be read, or is not what we write.
pub(crate) fn load(path: &Path) -> Result<SavedViews, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(SavedViews::new()),
        Err(e) => return Err(failed(e.to_string())),
        Ok(about) if about.len() > MAX_BYTES => return Err(failed("too long".to_owned())),
        Ok(_) => {}
    }
    let text = fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|e| failed(e.message().to_owned()))?;
    Ok(file.views)
}

/// Replaces the file as a whole; only its owner can read it. A file that we cannot read is not
/// replaced.
///
/// # Errors
/// It cannot be written.
pub(crate) fn store(path: &Path, views: &SavedViews) -> Result<(), String> {
    load(path)?;
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let file = File {
        views: views.clone(),
    };
    let text = toml::to_string(&file).map_err(|e| failed(&e))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| failed(&e))?;
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(&e))?;
    new.write_all(text.as_bytes()).map_err(|e| failed(&e))?;
    new.persist(path).map_err(|e| failed(&e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn views_come_back_from_a_private_file_and_garbage_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/views.toml");
        assert_eq!(load(&path), Ok(SavedViews::new()));
        let view = SavedView {
            open: "sessions".to_owned(),
            filter: "user=\"a\\\\b\" rate>1".to_owned(),
            sort: "rate:desc".to_owned(),
            columns: vec!["ID".to_owned(), "USER".to_owned()],
        };
        let views = SavedViews::from([("my \"view\"".to_owned(), view)]);
        store(&path, &views).unwrap();
        assert_eq!(load(&path), Ok(views.clone()));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "views = 7 and more").unwrap();
        assert!(load(&path).is_err());
        assert!(store(&path, &views).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "views = 7 and more");
    }
}
