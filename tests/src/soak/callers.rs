//! Clients that come, talk to a peer, and leave or vanish; and what they hold against the relays.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use crate::client::{ClientError, TurnClient};
use crate::node::{rest_login, stored_login};
use crate::wait::until;

/// The channel of those who bind one.
const CHANNEL: u16 = 0x4007;
/// How long an echo may take before it counts as lost.
const ECHO: Duration = Duration::from_millis(400);
/// Refusals that what happens around the clients explains: a kill or a restart (437), a ban (403), an
/// upgrade or a drain (508), limits (486), a nonce of before (438), a credential that the store
/// could not tell (401, 500).
const EXPLAINED: [u16; 7] = [401, 403, 437, 438, 486, 500, 508];
/// How long a client waits after a failure.
const REST: Duration = Duration::from_millis(200);
/// Faults that are told in words.
const MAX_FAULTS: usize = 20;

/// What all callers did, and what went wrong.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Calls that were begun.
    pub calls: u64,
    /// Calls in which something came back.
    pub talked: u64,
    /// Calls that ended with a Refresh of lifetime 0.
    pub released: u64,
    /// Calls whose client went without a word.
    pub vanished: u64,
    /// Payloads sent.
    pub sent: u64,
    /// Payloads that came back.
    pub heard: u64,
    /// Requests that nobody answered.
    pub unanswered: u64,
    /// Refusals by STUN error code.
    pub refused: BTreeMap<u16, u64>,
    /// Payloads that came to the wrong client, changed, or twice; refusals that nothing explains.
    pub faults: Vec<String>,
    /// How many of those there were.
    pub fault_count: u64,
}

impl Tally {
    fn fault(&mut self, text: String) {
        self.fault_count += 1;
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(text);
        }
    }
}

/// Where calls go.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The TURN listeners.
    pub servers: Vec<SocketAddr>,
    /// Whom the clients talk to.
    pub peers: Vec<SocketAddr>,
    /// Where some clients call from; it will be banned now and then.
    pub outlaw: std::net::IpAddr,
}

/// Threads that make one call after the other.
#[derive(Debug)]
pub(super) struct Callers {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Callers {
    /// So many of them, each with randomness of its own.
    pub(super) fn start(places: &Places, count: usize, seed: u64) -> Self {
        let tally = Arc::<Mutex<Tally>>::default();
        let stop = Arc::<AtomicBool>::default();
        let threads = (0..count as u64).map(|number| {
            let mut caller = Caller {
                places: places.clone(),
                tally: Arc::clone(&tally),
                stop: Arc::clone(&stop),
                random: StdRng::seed_from_u64(seed.wrapping_add(number)),
                number,
            };
            std::thread::spawn(move || {
                while !caller.stop.load(Ordering::Relaxed) {
                    if let Err(error) = caller.call() {
                        caller.failed(&error);
                        until(Instant::now() + REST);
                    }
                }
            })
        });
        Self {
            threads: threads.collect(),
            tally,
            stop,
        }
    }

    /// What they did so far.
    pub(super) fn tally(&self) -> Tally {
        locked(&self.tally).clone()
    }

    /// Lets every call end, and answers what all of them did.
    pub(super) fn leave(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(JoinHandle::join);
        let broken = ended.filter(Result::is_err).count();
        let mut tally = locked(&self.tally).clone();
        if broken > 0 {
            tally.fault(format!("{broken} callers panicked"));
        }
        tally
    }
}

fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread.
#[derive(Debug)]
struct Caller {
    places: Places,
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    random: StdRng,
    number: u64,
}

/// Tells calls of this process apart.
static CALLS: AtomicU64 = AtomicU64::new(1);

/// One call: what was sent, and what came back.
struct Call {
    client: TurnClient,
    id: u64,
    peer: SocketAddr,
    by_channel: bool,
    sent: u32,
    heard: HashSet<u32>,
}

impl Caller {
    fn call(&mut self) -> Result<(), ClientError> {
        let mut call = self.begin()?;
        call.client.allocate()?;
        if call.by_channel {
            call.client.bind_channel(CHANNEL, call.peer)?;
        } else {
            call.client.permit(&[call.peer.ip()])?;
        }
        let talked = self.talk(&mut call);
        {
            let mut tally = locked(&self.tally);
            tally.sent += u64::from(call.sent);
            tally.heard += call.heard.len() as u64;
            tally.talked += u64::from(!call.heard.is_empty());
        }
        talked?;
        if self.random.random_range(0..3) == 0 {
            locked(&self.tally).vanished += 1;
            return Ok(());
        }
        call.client.refresh(0)?;
        locked(&self.tally).released += 1;
        Ok(())
    }

    fn begin(&mut self) -> Result<Call, ClientError> {
        let id = CALLS.fetch_add(1, Ordering::Relaxed);
        locked(&self.tally).calls += 1;
        let server = self.pick(|places| &places.servers);
        let peer = self.pick(|places| &places.peers);
        // Users have a limit of sessions, and those of clients that vanished count: one caller alone
        // is a stored user, and everybody else somebody new.
        let login = match self.number {
            0 => stored_login(),
            _ => rest_login(&format!("caller-{id}")),
        };
        let client = match self.random.random_range(0..8) {
            0 => TurnClient::bound((self.places.outlaw, 0).into(), server, login)?,
            _ => TurnClient::new(server, login)?,
        };
        Ok(Call {
            client,
            id,
            peer,
            by_channel: self.random.random_range(0..2) == 0,
            sent: 0,
            heard: HashSet::new(),
        })
    }

    fn pick(&mut self, of: impl Fn(&Places) -> &Vec<SocketAddr>) -> SocketAddr {
        let all = of(&self.places);
        all[self.random.random_range(0..all.len())]
    }

    /// Some bursts, with a Refresh or another permission between them.
    fn talk(&mut self, call: &mut Call) -> Result<(), ClientError> {
        for _ in 0..self.random.random_range(2..10) {
            for _ in 0..self.random.random_range(1..12) {
                let length = self.random.random_range(12..1200);
                let payload = payload(call.id, call.sent, length);
                // A port without a listener is said by ICMP to the next call.
                let _ = match call.by_channel {
                    true => call.client.send_channel(CHANNEL, &payload),
                    false => call.client.send(call.peer, &payload),
                };
                call.sent += 1;
            }
            self.hear(call)?;
            until(Instant::now() + Duration::from_millis(self.random.random_range(5..100)));
            match self.random.random_range(0..6) {
                0 => drop(call.client.refresh(20)?),
                1 => call.client.permit(&[call.peer.ip()])?,
                _ => {}
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        // What is under way must not come to whoever has the port next.
        self.hear(call)
    }

    /// Takes echoes until all are there, or none comes any more.
    fn hear(&self, call: &mut Call) -> Result<(), ClientError> {
        while (call.heard.len() as u32) < call.sent {
            let Some((_, bytes)) = call.client.recv(ECHO)? else {
                return Ok(());
            };
            match check(&bytes, call) {
                Ok(number) => drop(call.heard.insert(number)),
                Err(why) => locked(&self.tally).fault(why),
            }
        }
        Ok(())
    }

    fn failed(&self, error: &ClientError) {
        let mut tally = locked(&self.tally);
        match error {
            ClientError::Refused(code) => {
                *tally.refused.entry(*code).or_default() += 1;
                if !EXPLAINED.contains(code) {
                    tally.fault(format!("a refusal with {code}"));
                }
            }
            ClientError::Timeout | ClientError::Io(_) => tally.unanswered += 1,
            ClientError::Incomplete(_) | ClientError::Unsigned => tally.fault(error.to_string()),
        }
    }
}

/// A payload that no other call, and no other number of this one, has.
fn payload(call: u64, number: u32, length: usize) -> Vec<u8> {
    let mut bytes = [&call.to_be_bytes()[..], &number.to_be_bytes()].concat();
    let seed = call.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number);
    let fill = (bytes.len()..length).map(|at| (seed.rotate_left(at as u32 % 64) as u8) ^ at as u8);
    bytes.extend(fill.collect::<Vec<_>>());
    bytes
}

/// The number of an own payload that came back whole for the first time, or what is wrong with it.
fn check(bytes: &[u8], call: &Call) -> Result<u32, String> {
    let head = bytes.get(..12).map(|head| head.split_at(8));
    let Some((id, number)) = head else {
        return Err(format!("{} bytes that nobody sent", bytes.len()));
    };
    let id = u64::from_be_bytes(id.try_into().expect("eight bytes"));
    let number = u32::from_be_bytes(number.try_into().expect("four bytes"));
    if id != call.id {
        return Err(format!("call {} heard what call {id} said", call.id));
    }
    if number >= call.sent || bytes != payload(id, number, bytes.len()) {
        return Err(format!("call {id}: number {number} was changed on its way"));
    }
    if call.heard.contains(&number) {
        return Err(format!("call {id}: number {number} came twice"));
    }
    Ok(number)
}
