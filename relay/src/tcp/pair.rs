//! A client's connection and a peer's that are joined: bytes pass both ways, in order and without
//! loss, and whoever cannot take them slows the other side down (RFC 6062 §3).

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use turn_proto::server::Direction;

use crate::listener::{Closing, StreamBuffers, StreamId, Streams};

/// Bytes read from a peer at once.
const READ: usize = 64 << 10;
/// Reads of each side per turn: one loud pair cannot starve the rest.
const BUDGET: usize = 4;
/// A queue that was larger than this gives its memory back when it is empty, in bytes.
const KEEP: usize = 4 << 10;
/// Until a pair is asked again for what its rate limit did not admit.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// How long one side may go on after the other has ended (RFC 6062 §5.5: it is closed).
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// One direction: what was read and is not written yet, at most what one read brings.
#[derive(Debug, Default)]
struct Flow {
    bytes: Vec<u8>,
    sent: usize,
    /// Counted, and let through by the limits.
    admitted: bool,
    /// Its source will send nothing more.
    ended: bool,
    /// Its sink was told so.
    shut: bool,
}

impl Flow {
    fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Holds bytes back that were just read; it is empty.
    fn hold(&mut self, bytes: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(bytes);
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.sent = 0;
        self.admitted = false;
    }
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing to do until a socket is ready again.
    Idle,
    /// There is more to do, after others had their turn.
    More,
    /// To be asked again at that time.
    Until(Instant),
    /// It is over.
    Over(Closing),
}

/// A joined pair, without the peer's socket.
#[derive(Debug)]
pub struct Pair {
    /// The client's connection.
    pub stream: StreamId,
    to_peer: Flow,
    to_client: Flow,
    /// When it is closed although one side goes on.
    closing_at: Option<Instant>,
}

/// What a pair works with in its turn.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) peer: &'a mut TcpStream,
    pub(super) streams: &'a mut Streams,
    pub(super) buffers: &'a mut StreamBuffers,
    /// Counts bytes of one direction and says whether they may pass.
    pub(super) admit: &'a mut dyn FnMut(Direction, usize) -> bool,
}

/// Where one direction stands.
enum Step {
    /// Its source or sink is not ready.
    Waiting,
    /// The budget is used up.
    Budget,
    /// The limits want it to wait.
    Paused,
}

impl Pair {
    /// Joins a client's connection, which sent `early` right behind its ConnectionBind.
    #[must_use]
    pub fn new(stream: StreamId, early: &[u8]) -> Self {
        let mut to_peer = Flow::default();
        to_peer.hold(early);
        Self {
            stream,
            to_peer,
            to_client: Flow::default(),
            closing_at: None,
        }
    }

    /// Takes bytes of the client that were read before it was joined.
    pub fn feed(&mut self, early: &[u8]) {
        self.to_peer.bytes.extend_from_slice(early);
    }

    /// Passes bytes in both directions.
    pub(super) fn run(&mut self, turn: &mut Turn<'_>) -> Progress {
        if self.closing_at.is_some_and(|at| at <= turn.now) {
            return Progress::Over(Closing::Peer);
        }
        let steps = self
            .pass_to_peer(turn)
            .and_then(|first| Ok([first, self.pass_to_client(turn)?]));
        let steps = match steps {
            Ok(steps) => steps,
            Err(why) => return Progress::Over(why),
        };
        if self.to_peer.shut && self.to_client.shut {
            return Progress::Over(Closing::Peer);
        }
        if (self.to_peer.shut || self.to_client.shut) && self.closing_at.is_none() {
            self.closing_at = Some(turn.now + LINGER);
        }
        if steps.iter().any(|step| matches!(step, Step::Budget)) {
            return Progress::More;
        }
        let pause = steps.iter().any(|step| matches!(step, Step::Paused));
        let pause = pause.then(|| turn.now + PAUSE);
        match pause.into_iter().chain(self.closing_at).min() {
            Some(at) => Progress::Until(at),
            None => Progress::Idle,
        }
    }

    fn pass_to_peer(&mut self, turn: &mut Turn<'_>) -> Result<Step, Closing> {
        let flow = &mut self.to_peer;
        for _ in 0..BUDGET {
            if !flow.is_empty() {
                let len = flow.pending().len();
                if !flow.admitted && !(turn.admit)(Direction::ToPeer, len) {
                    return Ok(Step::Paused);
                }
                flow.admitted = true;
                let count = write(turn.peer, flow.pending())?;
                flow.advance(count);
                if !flow.is_empty() {
                    return Ok(Step::Waiting);
                }
            }
            if flow.ended {
                shut(flow, || turn.peer.shutdown(Shutdown::Write));
                return Ok(Step::Waiting);
            }
            match turn.streams.read(turn.now, self.stream, turn.buffers) {
                Ok(Some(brought)) => {
                    flow.hold(&turn.buffers.clear[..brought.len]);
                    flow.ended |= brought.finished;
                    if brought.len == 0 && brought.drained && !flow.ended {
                        return Ok(Step::Waiting);
                    }
                }
                Ok(None) => return Err(Closing::Broken),
                Err(Closing::Client) => flow.ended = true,
                Err(why) => return Err(why),
            }
        }
        Ok(Step::Budget)
    }

    fn pass_to_client(&mut self, turn: &mut Turn<'_>) -> Result<Step, Closing> {
        let flow = &mut self.to_client;
        for _ in 0..BUDGET {
            // What TLS has to say by itself goes out here, too.
            if !turn
                .streams
                .flush(self.stream)
                .map_err(|_| Closing::Broken)?
            {
                return Ok(Step::Waiting);
            }
            if !flow.is_empty() {
                if !(turn.admit)(Direction::ToClient, flow.pending().len()) {
                    return Ok(Step::Paused);
                }
                turn.streams.queue(self.stream, flow.pending());
                flow.clear();
                continue;
            }
            if flow.ended {
                shut(flow, || turn.streams.shut(self.stream));
                return Ok(Step::Waiting);
            }
            match turn.peer.read(&mut turn.buffers.clear[..READ]) {
                Ok(0) => flow.ended = true,
                Ok(count) => {
                    let bytes = &turn.buffers.clear[..count];
                    if (turn.admit)(Direction::ToClient, count) {
                        turn.streams.queue(self.stream, bytes);
                    } else {
                        flow.hold(bytes);
                        return Ok(Step::Paused);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Step::Waiting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closing::Peer),
            }
        }
        Ok(Step::Budget)
    }
}

/// Writes what the socket takes.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Closing> {
    let mut done = 0;
    while done < bytes.len() {
        match socket.write(&bytes[done..]) {
            Ok(0) => return Err(Closing::Peer),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Closing::Peer),
        }
    }
    Ok(done)
}

/// Tells a sink, once, that nothing more comes.
fn shut(flow: &mut Flow, tell: impl FnOnce() -> io::Result<()>) {
    if std::mem::replace(&mut flow.shut, true) {
        return;
    }
    if let Err(error) = tell() {
        tracing::trace!(%error, "A connection of a pair had ended already.");
    }
}
