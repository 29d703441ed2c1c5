//! coturn's own database file: its tables, read without a lock and written in moments.
//!
//! coturn and `turnadmin` set no busy timeout: whoever holds even a shared lock at the moment of
//! their commit makes them drop the edit without a word. So reads take no lock at all. A reader
//! looks at the file's change counter and journal, reads, and looks again; what was read while
//! another process wrote is thrown away and read anew.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::{refused, sql_error};
use crate::store::StoreError;

/// How long a write waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_millis(400);
/// How long a read waits for a writer to finish before it takes locks as SQLite does. A journal
/// that stays longer was left by a crash, and only a locking reader may roll it back.
const READ_PATIENCE: Duration = Duration::from_millis(150);
/// How long a write waits for another tool's next commit.
const GAP_PATIENCE: Duration = Duration::from_millis(120);
/// How long after its last commit another tool counts as busy.
const RECENT: Duration = Duration::from_secs(1);
/// How long a read waits before it looks again.
const READ_PAUSE: Duration = Duration::from_millis(1);

/// The tables as coturn 4.6 creates them.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS turnusers_lt ( realm varchar(127) default '', name varchar(512), hmackey char(128), PRIMARY KEY (realm,name));
CREATE TABLE IF NOT EXISTS turn_secret (realm varchar(127) default '', value varchar(127), primary key (realm,value));
CREATE TABLE IF NOT EXISTS allowed_peer_ip (realm varchar(127) default '', ip_range varchar(256), primary key (realm,ip_range));
CREATE TABLE IF NOT EXISTS denied_peer_ip (realm varchar(127) default '', ip_range varchar(256), primary key (realm,ip_range));
CREATE TABLE IF NOT EXISTS turn_origin_to_realm (origin varchar(127),realm varchar(127),primary key (origin));
CREATE TABLE IF NOT EXISTS turn_realm_option (realm varchar(127) default '',	opt varchar(32),	value varchar(128),	primary key (realm,opt));
CREATE TABLE IF NOT EXISTS oauth_key (kid varchar(128),ikm_key varchar(256),timestamp bigint default 0,lifetime integer default 0,as_rs_alg varchar(64) default '',realm varchar(127) default '',primary key (kid));
CREATE TABLE IF NOT EXISTS admin_user (name varchar(32), realm varchar(127), password varchar(127), primary key (name));
";

/// The open file.
#[derive(Debug)]
pub(super) struct TurnDb {
    path: PathBuf,
    reader: Mutex<Reader>,
    writer: Mutex<Writer>,
    activity: Mutex<Activity>,
}

/// When another process last changed the file.
#[derive(Debug, Default)]
struct Activity {
    known: Option<Stamp>,
    foreign: Option<Instant>,
}

impl Activity {
    fn note(&mut self, stamp: &Stamp) {
        if self.known.as_ref() != Some(stamp) {
            if self.known.is_some() {
                self.foreign = Some(Instant::now());
            }
            self.known = Some(stamp.clone());
        }
    }

    fn is_recent(&self) -> bool {
        self.foreign.is_some_and(|at| at.elapsed() < RECENT)
    }
}

/// Reads without locks. Both descriptors stay open until the file is replaced: closing one would
/// drop the locks that the writer holds on the same file (POSIX locks belong to the process).
#[derive(Debug)]
struct Reader {
    connection: Connection,
    probe: File,
    identity: (u64, u64),
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    identity: (u64, u64),
}

/// What tells one committed state of the file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    identity: (u64, u64),
    size: u64,
    changed_ns: (i64, i64),
    counter: [u8; 4],
}

/// What a look at the file found.
enum Look {
    /// At rest in this state.
    Quiet(Stamp),
    /// A transaction is being written.
    Writing,
    /// In write-ahead mode, where readers may lock: they hinder nobody.
    WriteAhead,
}

impl TurnDb {
    /// Opens the file, and creates it with coturn's tables where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let writer = Writer::open(path)?;
        let reader = Reader::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
            activity: Mutex::default(),
        })
    }

    /// Runs `query` on a consistent state of the file. It may run several times.
    pub(super) fn read<T>(
        &self,
        query: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut reader = lock(&self.reader);
        let deadline = Instant::now() + READ_PATIENCE;
        while Instant::now() < deadline {
            match self.look(&mut reader)? {
                Look::Quiet(before) => {
                    let answer = query(&reader.connection);
                    if matches!(self.look(&mut reader)?, Look::Quiet(after) if after == before) {
                        return answer.map_err(sql_error);
                    }
                    // What was read beside a writer may be half of its change.
                    reader
                        .connection
                        .execute_batch("PRAGMA shrink_memory")
                        .map_err(sql_error)?;
                }
                Look::Writing => {}
                Look::WriteAhead => break,
            }
            std::thread::sleep(READ_PAUSE);
        }
        drop(reader);
        query(&self.writer()?.connection).map_err(sql_error)
    }

    /// Runs `change` in one short transaction, where it hurts least.
    ///
    /// While another tool is busy with the file, that is right after one of its commits, and the
    /// disk is waited for after the lock is gone instead of before: its next edit would be lost to
    /// a lock held for as long as a disk takes. If the machine (not the process) dies within these
    /// milliseconds, the file may be torn.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let contended = self.wait_for_a_gap()?;
        let mut writer = self.writer()?;
        writer
            .connection
            .pragma_update(None, "synchronous", if contended { "OFF" } else { "FULL" })
            .map_err(sql_error)?;
        let transaction = writer
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql_error)?;
        let answer = change(&transaction).map_err(sql_error)?;
        transaction.commit().map_err(sql_error)?;
        drop(writer);
        let mut reader = lock(&self.reader);
        if let Look::Quiet(ours) = self.look(&mut reader)? {
            lock(&self.activity).known = Some(ours);
        }
        if contended {
            reader
                .probe
                .sync_all()
                .map_err(|error| refused(&self.path, &error))?;
        }
        Ok(answer)
    }

    /// Whoever adds many users starts one `turnadmin` after the other: the moment after a commit
    /// is the furthest from the next. Waits for such a moment if there was one lately, and answers
    /// whether there was.
    fn wait_for_a_gap(&self) -> Result<bool, StoreError> {
        let started = Instant::now();
        let before = self.stamp()?;
        if !lock(&self.activity).is_recent() {
            return Ok(false);
        }
        while started.elapsed() < GAP_PATIENCE {
            std::thread::sleep(READ_PAUSE);
            let now = self.stamp()?;
            if now.is_some() && now != before {
                break;
            }
        }
        Ok(true)
    }

    /// The state of the file, to be compared with a later one; `None` where it cannot be told
    /// from the outside, or just now.
    pub(super) fn stamp(&self) -> Result<Option<Stamp>, StoreError> {
        let look = self.look(&mut lock(&self.reader))?;
        match look {
            Look::Quiet(stamp) => {
                lock(&self.activity).note(&stamp);
                Ok(Some(stamp))
            }
            Look::Writing | Look::WriteAhead => Ok(None),
        }
    }

    /// The writer, opened again where the file was replaced or removed.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        let mut writer = lock(&self.writer);
        if identity(&self.path) != Some(writer.identity) {
            *writer = Writer::open(&self.path)?;
        }
        Ok(writer)
    }

    fn look(&self, reader: &mut Reader) -> Result<Look, StoreError> {
        if identity(&self.path) != Some(reader.identity) {
            drop(self.writer()?);
            *reader = Reader::open(&self.path)?;
        }
        let unreadable = |error: std::io::Error| refused(&self.path, &error);
        if journal_is_hot(&self.path) {
            return Ok(Look::Writing);
        }
        let meta = reader.probe.metadata().map_err(unreadable)?;
        let mut header = [0; 100];
        if meta.size() >= header.len() as u64 {
            reader
                .probe
                .read_exact_at(&mut header, 0)
                .map_err(unreadable)?;
        }
        if header[18] == 2 {
            return Ok(Look::WriteAhead);
        }
        let [.., a, b, c, d] = header[..28] else {
            return Ok(Look::Writing);
        };
        let stamp = Stamp {
            identity: reader.identity,
            size: meta.size(),
            changed_ns: (meta.mtime(), meta.mtime_nsec()),
            counter: [a, b, c, d],
        };
        // Looked at once more: a writer that began in between is in the middle of it.
        Ok(if journal_is_hot(&self.path) {
            Look::Writing
        } else {
            Look::Quiet(stamp)
        })
    }
}

impl Reader {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let probe = File::open(path).map_err(|error| refused(path, &error))?;
        let meta = probe.metadata().map_err(|error| refused(path, &error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(lockless_uri(path), flags).map_err(sql_error)?;
        Ok(Self {
            connection,
            probe,
            identity: (meta.dev(), meta.ino()),
        })
    }
}

impl Writer {
    fn open(path: &Path) -> Result<Self, StoreError> {
        super::files::create_private(path)?;
        let connection = Connection::open(path).map_err(sql_error)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(sql_error)?;
        let tables: u32 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table'",
                [],
                |r| r.get(0),
            )
            .map_err(sql_error)?;
        if tables < 8 {
            connection
                .execute_batch(&format!("BEGIN IMMEDIATE;{SCHEMA}COMMIT;"))
                .map_err(sql_error)?;
        }
        let identity = identity(path)
            .ok_or_else(|| StoreError::Unavailable(format!("{} vanished", path.display())))?;
        Ok(Self {
            connection,
            identity,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path)
        .ok()
        .map(|meta| (meta.dev(), meta.ino()))
}

/// A rollback journal with a header: a transaction is under way, or one died. Truncated and
/// persistent journals at rest are empty or start with zeroes.
fn journal_is_hot(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    let Ok(mut journal) = File::open(name) else {
        return false;
    };
    let mut first = [0];
    matches!(journal.read(&mut first), Ok(1) if first[0] != 0)
}

/// `nolock=1` selects the VFS without locks; everything that a URI treats specially is escaped.
fn lockless_uri(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = "file:".to_owned();
    for &byte in absolute.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?mode=ro&nolock=1");
    uri
}
