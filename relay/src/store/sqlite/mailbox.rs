//! Mailboxes inside the process: the nodes of a demo share one store.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::store::{MAILBOX_CAPACITY, MAILBOX_TTL, Mailbox, StoreError};

/// Mailboxes kept at once; more names than that are no cluster.
const MAX_MAILBOXES: usize = 4096;

/// All mailboxes.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(Mutex<HashMap<Mailbox, Inbox>>);

#[derive(Debug)]
struct Inbox {
    messages: VecDeque<Vec<u8>>,
    last_post: Instant,
    /// Somebody in this process takes what is there.
    is_read: bool,
    arrived: Arc<Notify>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            last_post: Instant::now(),
            is_read: false,
            arrived: Arc::default(),
        }
    }
}

impl Mailboxes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Mailbox, Inbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all: what waits, and who reads.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Whether somebody in this process takes what is there.
    pub(super) fn is_read(&self, mailbox: &Mailbox) -> bool {
        self.lock().get(mailbox).is_some_and(|inbox| inbox.is_read)
    }

    /// Adds a message; the oldest makes room.
    pub(super) fn post(&self, to: &Mailbox, message: Vec<u8>) -> Result<(), StoreError> {
        let mut boxes = self.lock();
        if boxes.len() >= MAX_MAILBOXES && !boxes.contains_key(to) {
            boxes.retain(|_, inbox| inbox.last_post.elapsed() < MAILBOX_TTL);
            if boxes.len() >= MAX_MAILBOXES {
                return Err(StoreError::Refused("too many mailboxes".to_owned()));
            }
        }
        let inbox = boxes.entry(to.clone()).or_default();
        if inbox.last_post.elapsed() >= MAILBOX_TTL {
            inbox.messages.clear();
        }
        if inbox.messages.len() >= MAILBOX_CAPACITY {
            inbox.messages.pop_front();
        }
        inbox.messages.push_back(message);
        inbox.last_post = Instant::now();
        inbox.arrived.notify_one();
        Ok(())
    }

    /// Takes what is there, waiting at most `wait` for the first.
    pub(super) async fn receive(&self, from: &Mailbox, wait: Duration) -> Vec<Vec<u8>> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let arrived = {
                let mut boxes = self.lock();
                let inbox = boxes.entry(from.clone()).or_default();
                inbox.is_read = true;
                if inbox.last_post.elapsed() >= MAILBOX_TTL {
                    inbox.messages.clear();
                }
                if !inbox.messages.is_empty() {
                    return inbox.messages.drain(..).collect();
                }
                Arc::clone(&inbox.arrived)
            };
            if tokio::time::timeout_at(deadline, arrived.notified())
                .await
                .is_err()
            {
                return Vec::new();
            }
        }
    }
}
