//! Calls: pairs of clients that send each other voice or video through their relays.
//!
//! Each client is a thread that behaves as a call does: it refreshes, follows its partner to a new
//! relay address, and comes back when its session was ended.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{ClientError, Login, TurnClient};

/// A refresh well inside every lifetime; it is also how a client learns that it was ended.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
/// Silence of the partner after which a client asks whether its session lives.
const SILENCE: Duration = Duration::from_secs(4);
/// Pause of a client whose session ended or was refused.
const COME_BACK_AFTER: Duration = Duration::from_secs(3);
/// The first channel number (RFC 8656 §12).
const FIRST_CHANNEL: u16 = 0x4000;
/// Channel numbers a client goes through before it starts over with a new session.
const CHANNELS: u16 = 500;

/// What a call carries, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// 50 packets of 160 bytes per second.
    Voice,
    /// 25 frames per second of four packets of 1200 bytes, a larger one each second.
    Video,
}

impl Media {
    fn interval(self) -> Duration {
        match self {
            Self::Voice => Duration::from_millis(20),
            Self::Video => Duration::from_millis(40),
        }
    }

    /// Packets and their length at the `tick`-th interval.
    fn burst(self, tick: u64) -> (usize, usize) {
        match self {
            Self::Voice => (1, 160),
            Self::Video if tick.is_multiple_of(25) => (12, 1200),
            Self::Video => (4, 1200),
        }
    }
}

/// One end of a call.
#[derive(Clone, Debug)]
pub struct End {
    /// The TURN listener it uses.
    pub server: SocketAddr,
    /// What it logs in with.
    pub login: Login,
}

/// What all calls together did.
#[derive(Debug, Default)]
pub struct Totals {
    /// Datagrams sent by clients.
    pub sent: AtomicU64,
    /// Datagrams received by clients.
    pub received: AtomicU64,
    /// Sessions created.
    pub sessions: AtomicU64,
    /// Sessions refused or lost.
    pub failures: AtomicU64,
}

/// Running calls; dropping them hangs up and ends the sessions.
#[derive(Debug)]
pub struct Calls {
    totals: Arc<Totals>,
    stop: Arc<AtomicBool>,
    wake: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// Where the two ends of a call can be reached: their relay addresses.
type Line = Arc<Mutex<[Option<SocketAddr>; 2]>>;

impl Calls {
    /// No call yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            totals: Arc::default(),
            stop: Arc::default(),
            wake: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// Starts a call between two ends.
    pub fn start(&mut self, media: Media, ends: [End; 2]) {
        let line = Line::default();
        for (side, end) in ends.into_iter().enumerate() {
            let (wake, woken) = channel();
            self.wake.push(wake);
            let participant = Participant {
                media,
                end,
                side,
                line: line.clone(),
                totals: self.totals.clone(),
                stop: self.stop.clone(),
                woken,
            };
            self.threads
                .push(std::thread::spawn(move || participant.run()));
        }
    }

    /// The counters of all calls.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Participant {
    media: Media,
    end: End,
    side: usize,
    line: Line,
    totals: Arc<Totals>,
    stop: Arc<AtomicBool>,
    woken: Receiver<()>,
}

impl Participant {
    fn run(self) {
        while !self.stopped() {
            let outcome = self.session();
            self.publish(None);
            if let Err(error) = outcome {
                self.totals.failures.fetch_add(1, Ordering::Relaxed);
                tracing::info!(server = %self.end.server, %error, "Session ended.");
                // Nobody sends: the wait ends early only when the calls are dropped.
                let pause = self.woken.recv_timeout(COME_BACK_AFTER);
                if pause == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One allocation from its beginning to its end.
    fn session(&self) -> Result<(), ClientError> {
        let mut client = TurnClient::new(self.end.server, self.end.login.clone())?;
        let allocated = client.allocate()?;
        self.totals.sessions.fetch_add(1, Ordering::Relaxed);
        self.publish(Some(allocated.relay));
        let outcome = self.talk(&mut client);
        if self.stopped() {
            let _ = client.refresh(0);
        }
        outcome
    }

    fn talk(&self, client: &mut TurnClient) -> Result<(), ClientError> {
        let payload = [0x5a; 1200];
        let begun = Instant::now();
        let (mut heard, mut refreshed) = (begun, begun);
        let mut bound: Option<SocketAddr> = None;
        let mut number = FIRST_CHANNEL;
        let mut tick = 0_u64;
        while !self.stopped() && number < FIRST_CHANNEL + CHANNELS {
            let next = begun + self.media.interval() * u32::try_from(tick).unwrap_or(u32::MAX);
            if self.hear(client, next)? {
                heard = Instant::now();
            }
            tick += 1;
            let partner = self.partner();
            if let Some(peer) = partner.filter(|_| partner != bound) {
                number += u16::from(bound.is_some());
                bound = partner;
                client.bind_channel(number, peer)?;
                heard = Instant::now();
            }
            let silent = bound.is_some() && heard.elapsed() > SILENCE;
            if refreshed.elapsed() > REFRESH_EVERY || silent {
                client.refresh(600)?;
                (refreshed, heard) = (Instant::now(), Instant::now());
                if let Some(peer) = bound {
                    client.bind_channel(number, peer)?;
                }
            }
            if bound.is_some() {
                let (count, len) = self.media.burst(tick);
                for _ in 0..count {
                    client.send_channel(number, &payload[..len])?;
                }
                self.totals.sent.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Receives until `next`; whether anything came.
    fn hear(&self, client: &mut TurnClient, next: Instant) -> Result<bool, ClientError> {
        let mut heard = false;
        loop {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(heard);
            }
            if client.recv(left)?.is_some() {
                self.totals.received.fetch_add(1, Ordering::Relaxed);
                heard = true;
            }
        }
    }

    fn publish(&self, relay: Option<SocketAddr>) {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)[self.side] = relay;
    }

    fn partner(&self) -> Option<SocketAddr> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)[1 - self.side]
    }
}
