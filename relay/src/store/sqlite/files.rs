//! Files on disk: created private, owned by one process, `relayd.db` with its schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use super::{refused, sql_error};
use crate::store::StoreError;

/// How long a statement waits; nobody else writes here, but a backup may read.
const BUSY_TIMEOUT: Duration = Duration::from_millis(400);
/// How long a start waits for the owner before it, which may be about to end.
const CLAIM_PATIENCE: Duration = Duration::from_millis(500);
/// The schema written below, in `PRAGMA user_version`.
const SCHEMA_VERSION: u32 = 5;

/// Version 1, and below it what each later version added.
const SCHEMA: &str = "
CREATE TABLE realm (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, document TEXT NOT NULL,
  changed_at_ms INTEGER NOT NULL, changed_by TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE realm_history (name TEXT, revision INTEGER, document TEXT NOT NULL,
  changed_at_ms INTEGER NOT NULL, changed_by TEXT NOT NULL, PRIMARY KEY (name, revision)) WITHOUT ROWID;
CREATE TABLE user_record (realm TEXT, name TEXT, record TEXT NOT NULL, PRIMARY KEY (realm, name)) WITHOUT ROWID;
CREATE TABLE secret_label (realm TEXT, fingerprint BLOB, label TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL, PRIMARY KEY (realm, fingerprint)) WITHOUT ROWID;
CREATE TABLE block (realm TEXT, user TEXT, until_ms INTEGER NOT NULL, record TEXT NOT NULL,
  PRIMARY KEY (realm, user)) WITHOUT ROWID;
CREATE TABLE token (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE node (id TEXT PRIMARY KEY, record TEXT NOT NULL, heartbeat_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE node_epoch (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE session (node TEXT, id INTEGER, expires_at_ms INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (node, id)) WITHOUT ROWID;
CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL);
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL);
";

const DOCUMENTS: &str = "
CREATE TABLE document (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, changed_at_ms INTEGER NOT NULL,
  changed_by TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
";

const CREDENTIALS: &str = "
CREATE TABLE user_key (realm TEXT, name TEXT, sha256 BLOB NOT NULL, PRIMARY KEY (realm, name)) WITHOUT ROWID;
CREATE TABLE userhash (realm TEXT, hash BLOB, name TEXT NOT NULL, PRIMARY KEY (realm, hash)) WITHOUT ROWID;
";

const SECRET_STATES: &str = "
ALTER TABLE secret_label ADD COLUMN state TEXT NOT NULL DEFAULT 'active';
CREATE TABLE secret_aside (realm TEXT, fingerprint BLOB, value TEXT NOT NULL, label TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL, state TEXT NOT NULL, PRIMARY KEY (realm, fingerprint)) WITHOUT ROWID;
";

const REASONS: &str = "
ALTER TABLE realm_history ADD COLUMN reason TEXT NOT NULL DEFAULT '';
";

/// Creates an empty file that only its owner may read, where there is none.
pub(super) fn create_private(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(refused(path, &error)),
    }
}

/// Claims `path` for this process, for as long as the answer lives.
pub(super) fn claim(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|error| refused(Path::new(&name), &error))?;
    let deadline = Instant::now() + CLAIM_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Refused(format!(
                    "{} is in use by another relayd: take over from it with --upgrade, give each its own \
                     state directory, or use Redis",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(refused(Path::new(&name), &error)),
        }
    }
}

/// Opens `relayd.db` and brings it to the present schema.
pub(super) fn open_own(path: &Path) -> Result<Connection, StoreError> {
    create_private(path)?;
    let mut connection = Connection::open(path).map_err(sql_error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sql_error)?;
    // A transaction that reads before it writes is refused without a wait when the other process of a
    // planned restart wrote meanwhile; one that begins as a writer waits its turn.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    connection.set_prepared_statement_cache_capacity(64);
    // NORMAL: a commit survives the death of the process at once, that of the machine when the system
    // has written it down, mostly within half a minute. A lost machine costs calls a longer gap than
    // that; a sync per write would cost all others latency.
    // The cache is a quarter of SQLite's own: sessions are written and hardly ever read.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -512;",
        )
        .map_err(sql_error)?;
    let version: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(sql_error)?;
    let missing = match version {
        0 => format!("{SCHEMA}{DOCUMENTS}{CREDENTIALS}{SECRET_STATES}{REASONS}"),
        1 => format!("{DOCUMENTS}{CREDENTIALS}{SECRET_STATES}{REASONS}"),
        2 => format!("{CREDENTIALS}{SECRET_STATES}{REASONS}"),
        3 => format!("{SECRET_STATES}{REASONS}"),
        4 => REASONS.to_owned(),
        SCHEMA_VERSION => return Ok(connection),
        newer => {
            return Err(StoreError::Refused(format!(
                "{} has schema {newer}, newer than this relayd knows ({SCHEMA_VERSION}): use the \
                 version that wrote it, or a new state directory",
                path.display()
            )));
        }
    };
    connection
        .execute_batch(&format!(
            "BEGIN;{missing}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
        ))
        .map_err(sql_error)?;
    Ok(connection)
}
