//! Clients that send ChannelData and nothing else, for as long as a test wants to know whether somebody
//! was cut off: who heard their peer's echo, when last, and after which silence.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Login, TurnClient};
use crate::coturn::Peer;
use crate::node::SECRET;
use crate::wait::wait_until;

/// The channel that each of them has to the peer.
pub const CHANNEL: u16 = 0x4001;
/// Pause between two looks at all sockets.
const LOOK: Duration = Duration::from_millis(4);
/// Threads that make sessions.
const MAKERS: usize = 8;
/// The largest ChannelData message that comes back.
const DATAGRAM: usize = 64;

/// What one of them heard.
#[derive(Clone, Debug)]
struct Voice {
    sent: u32,
    heard: HashSet<u32>,
    doubled: u32,
    last: Instant,
    longest: Duration,
}

/// What all of them heard.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Messages sent.
    pub sent: u64,
    /// Messages that did not come back.
    pub lost: u64,
    /// Messages that came back more than once.
    pub doubled: u64,
    /// The longest silence of any client, since the last [`Survivors::mark`].
    pub longest: Duration,
    /// The longest silence of the client in the middle.
    pub median: Duration,
}

/// Clients that talk on a thread of their own.
#[derive(Debug)]
pub struct Survivors {
    voices: Arc<Mutex<Vec<Voice>>>,
    stop: Sender<()>,
    thread: JoinHandle<Vec<TurnClient>>,
}

/// Sessions with a channel to `peer`, one per login.
///
/// # Panics
/// When one is refused.
#[must_use]
pub fn sessions(server: SocketAddr, logins: Vec<Login>, peer: SocketAddr) -> Vec<TurnClient> {
    let _ = turn_udp::sys::raise_descriptor_limit();
    let each = logins.len().div_ceil(MAKERS).max(1);
    let make = |logins: &[Login]| -> Vec<TurnClient> {
        let clients = logins.iter().map(|login| {
            let mut client = TurnClient::new(server, login.clone()).expect("a free port");
            client.allocate().expect("an allocation");
            client.bind_channel(CHANNEL, peer).expect("a channel");
            client
        });
        clients.collect()
    };
    std::thread::scope(|scope| {
        let makers: Vec<_> = logins
            .chunks(each)
            .map(|chunk| scope.spawn(|| make(chunk)))
            .collect();
        let made = makers.into_iter().map(|maker| maker.join());
        made.flat_map(|made| made.expect("sessions are made"))
            .collect()
    })
}

/// Sessions of users of the shared secret with these numbers, spread over the peers: what one of them
/// has to wait for must not fill its socket.
///
/// # Panics
/// When one is refused.
#[must_use]
pub fn crowd(server: SocketAddr, peers: &[Peer], numbers: Range<usize>) -> Vec<TurnClient> {
    let made = numbers.flat_map(|number| {
        let login = Login::rest(&format!("4000000000:user-{number}"), SECRET);
        sessions(server, vec![login], peers[number % peers.len()].address)
    });
    made.collect()
}

impl Survivors {
    /// Has clients with a bound [`CHANNEL`] send a message each `pace`.
    ///
    /// # Panics
    /// When a socket does not work.
    #[must_use]
    pub fn start(clients: Vec<TurnClient>, pace: Duration) -> Self {
        let now = Instant::now();
        let voice = Voice {
            sent: 0,
            heard: HashSet::new(),
            doubled: 0,
            last: now,
            longest: Duration::ZERO,
        };
        let voices = Arc::new(Mutex::new(vec![voice; clients.len()]));
        let (stop, stopped) = channel();
        let shared = Arc::clone(&voices);
        let thread = std::thread::spawn(move || {
            talk(&clients, &shared, pace, &stopped);
            clients
        });
        Self {
            voices,
            stop,
            thread,
        }
    }

    fn voices(&self) -> MutexGuard<'_, Vec<Voice>> {
        self.voices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures silences from now on.
    pub fn mark(&self) {
        for voice in self.voices().iter_mut() {
            voice.longest = Duration::ZERO;
        }
    }

    /// How many have heard their peer since then.
    #[must_use]
    pub fn heard_since(&self, since: Instant) -> usize {
        let voices = self.voices();
        voices.iter().filter(|voice| voice.last > since).count()
    }

    /// Waits until every one of them hears its peer again.
    ///
    /// # Panics
    /// When one does not; the message says how many do.
    #[track_caller]
    pub fn all_heard_within(&self, deadline: Duration) {
        let since = Instant::now();
        let all = self.voices().len();
        let mut heard = 0;
        let patience = Instant::now() + deadline;
        wait_until("every client to hear its peer", deadline * 2, || {
            heard = self.heard_since(since);
            assert!(
                heard == all || Instant::now() < patience,
                "{heard} of {all} clients heard their peer within {deadline:?}"
            );
            heard == all
        });
    }

    /// What all of them heard up to now. What is under way counts as lost.
    #[must_use]
    pub fn summary(&self) -> Summary {
        summary(&self.voices())
    }

    /// Lets them listen for as long as something comes, at most a second, and ends.
    ///
    /// # Panics
    /// When the thread did.
    #[must_use]
    pub fn stop(self) -> (Vec<TurnClient>, Summary) {
        let _ = self.stop.send(());
        let clients = self.thread.join().expect("clients talk");
        let voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        (clients, summary(&voices))
    }
}

fn summary(voices: &[Voice]) -> Summary {
    let mut silences: Vec<_> = voices.iter().map(|voice| voice.longest).collect();
    silences.sort_unstable();
    let sent = voices.iter().map(|voice| u64::from(voice.sent)).sum();
    let heard: u64 = voices.iter().map(|voice| voice.heard.len() as u64).sum();
    Summary {
        sent,
        lost: sent - heard,
        doubled: voices.iter().map(|voice| u64::from(voice.doubled)).sum(),
        longest: silences.last().copied().unwrap_or_default(),
        median: silences
            .get(silences.len() / 2)
            .copied()
            .unwrap_or_default(),
    }
}

fn talk(clients: &[TurnClient], voices: &Mutex<Vec<Voice>>, pace: Duration, stop: &Receiver<()>) {
    for client in clients {
        let socket = client.socket();
        socket.set_nonblocking(true).expect("a socket");
    }
    let start = Instant::now();
    // Spread over the pace, so that one look does not find all of them at once.
    let due = |index: usize| start + pace * index as u32 / clients.len().max(1) as u32;
    let mut next: Vec<Instant> = (0..clients.len()).map(due).collect();
    let mut ends: Option<Instant> = None;
    loop {
        match stop.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                ends.get_or_insert(Instant::now() + Duration::from_secs(1));
            }
        }
        let mut voices = voices.lock().unwrap_or_else(PoisonError::into_inner);
        for ((client, voice), due) in clients.iter().zip(voices.iter_mut()).zip(&mut next) {
            hear(client, voice);
            if ends.is_none() {
                voice.longest = voice.longest.max(voice.last.elapsed());
            }
            if ends.is_none() && *due <= Instant::now() {
                *due += pace;
                // A port without a listener is said by ICMP to the next call: tried again later.
                let _ = client.send_channel(CHANNEL, &voice.sent.to_be_bytes());
                voice.sent += 1;
            }
        }
        let is_whole = voices.iter().all(|v| v.heard.len() == v.sent as usize);
        if ends.is_some_and(|end| is_whole || Instant::now() >= end) {
            break;
        }
    }
    for client in clients {
        let socket = client.socket();
        socket.set_nonblocking(false).expect("a socket");
    }
}

/// Takes what came for one of them.
fn hear(client: &TurnClient, voice: &mut Voice) {
    let mut buffer = [0; DATAGRAM];
    while let Ok((length, _)) = client.socket().recv_from(&mut buffer) {
        // Header of 4 bytes, then the number.
        let number = buffer[..length].get(4..8);
        let Some(number) = number.and_then(|number| number.try_into().ok()) else {
            continue;
        };
        if !voice.heard.insert(u32::from_be_bytes(number)) {
            voice.doubled += 1;
        }
        let now = Instant::now();
        let silence = now.saturating_duration_since(voice.last);
        voice.longest = voice.longest.max(silence);
        voice.last = now;
    }
}
