//! The data plane: one thread per core, each with its own poll, core and sockets.
//!
//! Nobody else touches a worker's state: control talks to it through [`WorkerPool`] and hears from it
//! as [`WorkerNews`], both bounded.

mod alarm;
mod by_hand;
mod dtls;
mod handover;
mod links;
mod mailbox;
mod outputs;
mod pool;
pub mod ports;
mod restore;
mod run;
mod streams;
mod succession;
mod token;

pub use by_hand::WorkerByHand;
pub use mailbox::{MailboxFull, WorkerNews};
pub use pool::{Frozen, News, WorkerPool, WorkerSetup, WorkerThreads};
pub use restore::{NotRestored, Restore};
pub use succession::{Inheritance, WorkerEstate};
