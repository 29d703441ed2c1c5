//! Two processes of one node on the same files, for as long as the older one has clients that cannot
//! move: mails and changes for the other one go through a table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use shared::NodeId;

use super::{Inner, files, refused, sql_error};
use crate::store::record::now_ms;
use crate::store::{Change, Mailbox, StoreError};

/// How often the table is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// Between clearings of what everybody has read.
const CLEARING: Duration = Duration::from_secs(10);
/// How long a row stays, in milliseconds.
const KEPT_MS: u64 = 60_000;
/// Messages that wait to be written; more are dropped, as mailboxes do.
const MOST: usize = 10_000;

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS neighbour (id INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL,
  at_ms INTEGER NOT NULL, what TEXT NOT NULL, body BLOB NOT NULL);
";
/// What a row is that holds a change.
const CHANGE: &str = "change";

/// What is to be told to the other process.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    is_on: AtomicBool,
    outgoing: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Neighbours {
    /// Whether there may be another process.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    fn outgoing(&self) -> MutexGuard<'_, Vec<(String, Vec<u8>)>> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, what: String, body: Vec<u8>) {
        let mut outgoing = self.outgoing();
        if outgoing.len() < MOST {
            outgoing.push((what, body));
        }
    }

    /// Tells a change to the other process.
    pub(super) fn tell(&self, change: &Change) {
        if self.is_on()
            && let Ok(body) = serde_json::to_vec(change)
        {
            self.push(CHANGE.to_owned(), body);
        }
    }

    /// Sends a message to a mailbox that nobody reads here.
    pub(super) fn post(&self, to: &Mailbox, message: Vec<u8>) {
        let what = match to {
            Mailbox::Node(node) => format!("node {node}"),
            Mailbox::Reply(node) => format!("reply {node}"),
        };
        self.push(what, message);
    }
}

/// Starts to exchange, until the store is dropped.
pub(super) fn begin(inner: &Arc<Inner>) -> Result<(), StoreError> {
    if inner.neighbours.is_on.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let connection = files::open_own(&inner.path)?;
    connection.execute_batch(TABLE).map_err(sql_error)?;
    let last = connection.query_row("SELECT coalesce(max(id), 0) FROM neighbour", [], |row| {
        row.get(0)
    });
    let exchange = Exchange {
        last: last.map_err(sql_error)?,
        connection,
        version: 0,
        cleared: Instant::now(),
    };
    let weak = Arc::downgrade(inner);
    std::thread::Builder::new()
        .name("neighbours".to_owned())
        .spawn(move || run(&weak, exchange))
        .map_err(|error| refused("thread of neighbours".as_ref(), &error))?;
    Ok(())
}

struct Exchange {
    connection: Connection,
    /// The newest row that was read.
    last: i64,
    /// `PRAGMA data_version`: another process wrote.
    version: i64,
    cleared: Instant,
}

fn run(weak: &Weak<Inner>, mut exchange: Exchange) {
    loop {
        std::thread::sleep(INTERVAL);
        let Some(inner) = weak.upgrade() else { return };
        if let Err(error) = exchange.turn(&inner) {
            tracing::debug!(%error, "the other process of this node is not reached");
        }
    }
}

impl Exchange {
    fn turn(&mut self, inner: &Inner) -> rusqlite::Result<()> {
        self.write(inner)?;
        let version = self
            .connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if version != self.version {
            self.version = version;
            self.read(inner)?;
        }
        if self.cleared.elapsed() >= CLEARING {
            self.cleared = Instant::now();
            let old = now_ms().saturating_sub(KEPT_MS) as i64;
            let mut clear = self
                .connection
                .prepare_cached("DELETE FROM neighbour WHERE at_ms < ?1")?;
            clear.execute([old])?;
        }
        Ok(())
    }

    fn write(&mut self, inner: &Inner) -> rusqlite::Result<()> {
        let outgoing = std::mem::take(&mut *inner.neighbours.outgoing());
        if outgoing.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO neighbour (pid, at_ms, what, body) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (what, body) in outgoing {
                insert.execute((std::process::id(), now_ms() as i64, what, body))?;
            }
        }
        transaction.commit()
    }

    fn read(&mut self, inner: &Inner) -> rusqlite::Result<()> {
        let mut query = self.connection.prepare_cached(
            "SELECT id, pid, what, body FROM neighbour WHERE id > ?1 ORDER BY id",
        )?;
        let mut rows = query.query([self.last])?;
        while let Some(row) = rows.next()? {
            self.last = row.get(0)?;
            if row.get::<_, u32>(1)? != std::process::id() {
                take(inner, &row.get::<_, String>(2)?, row.get(3)?);
            }
        }
        Ok(())
    }
}

/// Takes a row that the other process wrote.
fn take(inner: &Inner, what: &str, body: Vec<u8>) {
    if what == CHANGE {
        if let Ok(change) = serde_json::from_slice(&body) {
            inner.tell_here(change);
        }
        return;
    }
    let mailbox = what.split_once(' ').and_then(|(kind, node)| {
        let node: NodeId = node.parse().ok()?;
        match kind {
            "node" => Some(Mailbox::Node(node)),
            "reply" => Some(Mailbox::Reply(node)),
            _ => None,
        }
    });
    // Those that nobody reads here are of a third process.
    if let Some(mailbox) = mailbox.filter(|mailbox| inner.mailboxes.is_read(mailbox))
        && let Err(error) = inner.mailboxes.post(&mailbox, body)
    {
        tracing::debug!(%error, "a message of the other process was lost");
    }
}
