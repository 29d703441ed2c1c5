//! A coturn beside this node: its sessions in our books, orders to it by its command line.
//!
//! A node that speaks for a coturn has no workers of its own. [`Coturn`] stands in their place: control
//! asks it as it would ask workers, and hears from it what it would hear from them. Nothing outside
//! this module knows how coturn is spoken with: [`telnet`] is its command line, [`records`] and
//! [`parameters`] what that prints, [`stats`] what its Redis tells; [`agent`] holds it all together.

mod agent;
mod parameters;
mod records;
mod sessions;
mod stats;
mod telnet;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::Realm;
use shared::api::BesideView;
use tokio::sync::{Notify, mpsc, oneshot};
use turn_proto::server::Command;

use crate::config::{BesideConfig, BesideWishes};
use crate::worker::News;
use agent::Agent;

/// Orders that wait for coturn: as many as a bulk kill sends at once, and some.
const ORDERS: usize = 10_000;
/// News that wait for control.
const NEWS: usize = 4096;

/// What the agent is told to do.
#[derive(Debug)]
enum Order {
    /// A command for workers.
    Command(Command),
    /// Take no new sessions; the answer is why not.
    Drain(oneshot::Sender<Result<(), String>>),
    /// Fail in the middle of something.
    #[cfg(test)]
    Fail,
}

/// What the agent and control both see.
#[derive(Debug)]
struct Shared {
    view: Mutex<BesideView>,
    wishes: Mutex<BesideWishes>,
    wishes_changed: Notify,
    /// coturn was gone, and with it what it had been told.
    was_gone: AtomicBool,
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, BesideView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wishes(&self) -> MutexGuard<'_, BesideWishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A coturn, in the place of workers.
#[derive(Debug)]
pub struct Coturn {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
}

impl Coturn {
    /// Speaks with coturn from now on, on the current tokio runtime, until the value and the news are
    /// dropped. `base` is the upper half of the ids that its sessions get here.
    #[must_use]
    pub fn start(config: &BesideConfig, default_realm: &Realm, base: u32) -> (Arc<Self>, News) {
        let (orders, queue) = mpsc::channel(ORDERS);
        let (news, heard) = mpsc::channel(NEWS);
        let view = BesideView {
            software: "coturn".to_owned(),
            away: Some("it is asked for the first time".to_owned()),
            since_ms: agent::unix_ms(),
            ..BesideView::default()
        };
        let shared = Arc::new(Shared {
            view: Mutex::new(view),
            wishes: Mutex::new(config.wishes.clone()),
            wishes_changed: Notify::new(),
            was_gone: AtomicBool::new(false),
        });
        let agent = Agent::new(
            config.clone(),
            default_realm.clone(),
            base,
            Arc::clone(&shared),
        );
        tokio::spawn(agent.run(queue, news));
        (Arc::new(Self { shared, orders }), heard)
    }

    /// As nodes show it.
    #[must_use]
    pub fn view(&self) -> BesideView {
        self.shared.view().clone()
    }

    /// How its sessions are marked.
    #[must_use]
    pub fn software(&self) -> String {
        self.shared.view().software.clone()
    }

    /// Why coturn cannot be spoken with.
    #[must_use]
    pub fn away(&self) -> Option<String> {
        self.shared.view().away.clone()
    }

    /// Has coturn's switches and limits be as the configuration says.
    pub fn wish(&self, wishes: &BesideWishes) {
        let mut known = self.shared.wishes();
        if *known != *wishes {
            known.clone_from(wishes);
            self.shared.wishes_changed.notify_one();
        }
    }

    /// Queues what workers would be told; `false` when the queue is full. coturn has its own policy, keys
    /// and quotas: only what is about sessions reaches it.
    #[must_use]
    pub fn send(&self, command: Command) -> bool {
        self.orders.try_send(Order::Command(command)).is_ok()
    }

    /// Has coturn take no new sessions.
    ///
    /// # Errors
    /// Why that is impossible, with the remedy.
    pub async fn drain(&self) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the part of this node that speaks with coturn has stopped".to_owned();
        let sent = self.orders.try_send(Order::Drain(answer));
        sent.map_err(|_| "coturn is busy with other orders: try again".to_owned())?;
        answered.await.map_err(|_| gone())?
    }

    /// Whether coturn was gone since this was asked last: it has forgotten what it was told.
    #[must_use]
    pub fn take_was_gone(&self) -> bool {
        self.shared.was_gone.swap(false, Ordering::AcqRel)
    }
}

/// What a coturn of this version cannot do, and why, by the name of the action in the audit.
fn unsupported(can_drain: bool) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        (
            "node.undrain",
            "coturn takes no drain back: restart it when it is empty",
        ),
        (
            "node.upgrade",
            "this process has no sessions: restart relayd, coturn goes on meanwhile",
        ),
    ]);
    if !can_drain {
        all.insert(
            "node.drain",
            "coturn drains since 4.6.3, and this one is older: take it out of your DNS or credentials, or set \
             beside.user_quota, until it is upgraded",
        );
    }
    let owned = all.into_iter();
    owned
        .map(|(action, why)| (action.to_owned(), why.to_owned()))
        .collect()
}

/// What coturn does otherwise than our nodes.
fn differs() -> BTreeMap<String, String> {
    let all = [
        (
            "node.drain",
            "coturn refuses new sessions with 403, and its process ends with its last session",
        ),
        (
            "ban.create",
            "coturn knows no bans: sessions from a banned network are ended as soon as they are seen, after a \
             second or two; peers' networks are not kept out",
        ),
        (
            "block.put",
            "coturn knows no blocks: a blocked user comes back; change the user's password or secret instead",
        ),
        (
            "realm.put",
            "coturn reads limits and peers of realms from its own database: they hold where that is the store \
             of this cluster; quotas of the cluster do not count its sessions",
        ),
    ];
    let owned = all.into_iter();
    owned
        .map(|(action, how)| (action.to_owned(), how.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::telnet::{Cli, CliError, Goodbye};
    use super::*;

    /// Tells a coturn to drain that says this and closes the connection.
    async fn drained(goodbye: &str) -> Result<Goodbye, CliError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let coturn = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let greeting = b"TURN Server\nCoturn-4.18.0 'x'\n\n> ";
            stream.write_all(greeting).await.unwrap();
            let mut asked = [0; 7];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"drain\r\n");
            stream.write_all(goodbye.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let told = async {
            let mut cli = Cli::open(address, None).await?;
            cli.run_last("drain").await
        };
        tokio::join!(coturn, told).1
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_no_drain() {
        let said = drained("TURN server is draining\n").await;
        assert_eq!(said, Ok(Goodbye::Said));
        for goodbye in ["", "> "] {
            assert_eq!(drained(goodbye).await, Ok(Goodbye::Silent), "{goodbye:?}");
        }
        let refused = drained("Unknown command\n> ").await;
        assert!(matches!(refused, Err(CliError::Io(..))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_fault_is_told_and_the_agent_starts_again() {
        // Bound and closed: nobody listens there.
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = BesideConfig {
            enabled: true,
            cli: bound.local_addr().unwrap(),
            password: None,
            password_file: None,
            statsdb: None,
            wishes: BesideWishes::default(),
        };
        drop(bound);
        let (coturn, _news) = Coturn::start(&config, &"north.gov".parse().unwrap(), 7);
        for _ in 0..2 {
            coturn.orders.send(Order::Fail).await.unwrap();
            // It is answered after the fault, by the one that started again.
            let refused = tokio::time::timeout(Duration::from_secs(30), coturn.drain()).await;
            let refused = refused.expect("an answer").unwrap_err();
            assert!(refused.contains("starts again"), "{refused}");
            let away = coturn.away().unwrap_or_default();
            assert!(away.contains("please report it"), "{away}");
        }
    }
}
