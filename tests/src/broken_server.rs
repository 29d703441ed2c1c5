//! A TURN server that asks nobody who they are and, where it is told to, spoils what it relays: so
//! that whoever checks relays can be seen to notice.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::stun::{AttributeType, Class, ErrorCode, Message, MessageBuilder, Method};

use crate::address::{free_port, fresh_ip};

/// Every so many-th packet is spoilt.
const EVERY: u32 = 10;
/// How long a socket is read before it is looked whether the server is to stop.
const TICK: Duration = Duration::from_millis(50);
/// The longest datagram.
const DATAGRAM: usize = 2048;

/// What it does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Hands it to another session.
    Swap,
    /// Changes its last byte.
    Flip,
    /// Sends it twice.
    Double,
    /// Drops it.
    Lose,
    /// Sends it behind the next one of any session.
    Delay,
}

/// One client.
#[derive(Clone, Debug)]
struct Session {
    client: SocketAddr,
    relay: Arc<UdpSocket>,
    bound: Option<(ChannelNumber, SocketAddr)>,
}

/// A packet that waits for the next one: where it leaves, where to, and what it says.
type Held = (Arc<UdpSocket>, SocketAddr, Vec<u8>);

/// What its threads share.
#[derive(Debug)]
struct Shared {
    listener: UdpSocket,
    sessions: Mutex<Vec<Session>>,
    fault: Fault,
    packets: AtomicU32,
    held: Mutex<Option<Held>>,
    stop: AtomicBool,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct BrokenServer {
    /// Its listener.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl BrokenServer {
    /// One with this fault.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(fault: Fault) -> Self {
        let address = free_port(fresh_ip());
        let listener = UdpSocket::bind(address).expect("a free port");
        listener
            .set_read_timeout(Some(TICK))
            .expect("a timeout above zero");
        let shared = Arc::new(Shared {
            listener,
            sessions: Mutex::default(),
            fault,
            packets: AtomicU32::new(0),
            held: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let serving = shared.clone();
        Self {
            address,
            shared,
            thread: Some(std::thread::spawn(move || serve(&serving))),
        }
    }

    /// Sessions that it has.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.sessions().len()
    }
}

impl Drop for BrokenServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether this packet is to be spoilt.
    fn is_due(&self) -> bool {
        self.packets.fetch_add(1, Ordering::Relaxed) % EVERY == EVERY - 1
    }

    /// Sends a packet, or what the fault makes of it.
    fn pass(&self, socket: &Arc<UdpSocket>, to: SocketAddr, mut packet: Vec<u8>) {
        let due = self.fault != Fault::Swap && self.is_due();
        match self.fault {
            Fault::Flip if due => *packet.last_mut().expect("no empty packet") ^= 1,
            Fault::Lose if due => return,
            Fault::Double if due => {
                let _ = socket.send_to(&packet, to);
            }
            Fault::Delay => {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                if due && held.is_none() {
                    *held = Some((socket.clone(), to, packet));
                    return;
                }
                let _ = socket.send_to(&packet, to);
                if let Some((socket, to, packet)) = held.take() {
                    let _ = socket.send_to(&packet, to);
                }
                return;
            }
            _ => {}
        }
        let _ = socket.send_to(&packet, to);
    }

    /// The session that gets a packet of `sessions[own]`.
    fn target<'s>(&self, sessions: &'s [Session], own: usize) -> &'s Session {
        match self.fault == Fault::Swap && self.is_due() {
            true => &sessions[(own + 1) % sessions.len()],
            false => &sessions[own],
        }
    }
}

fn serve(shared: &Arc<Shared>) {
    let mut buffer = [0; DATAGRAM];
    while !shared.stopped() {
        let Ok((len, from)) = shared.listener.recv_from(&mut buffer) else {
            continue;
        };
        let packet = &buffer[..len];
        if let Some(data) = ChannelData::parse(packet) {
            up(shared, from, &data);
        } else if let Ok(message) = Message::parse(packet) {
            let answer = answer(shared, from, &message);
            let _ = shared.listener.send_to(&answer, from);
        }
    }
}

fn up(shared: &Shared, from: SocketAddr, data: &ChannelData<'_>) {
    let sessions = shared.sessions();
    let Some(own) = sessions.iter().position(|session| session.client == from) else {
        return;
    };
    if let Some((_, peer)) = sessions[own].bound {
        let relay = shared.target(&sessions, own).relay.clone();
        shared.pass(&relay, peer, data.payload.to_vec());
    }
}

/// Hands on what comes to the relay of `client`.
fn down(shared: &Shared, client: SocketAddr, relay: &UdpSocket) {
    let listener = shared
        .listener
        .try_clone()
        .map(Arc::new)
        .expect("a second handle");
    let mut buffer = [0; DATAGRAM];
    while !shared.stopped() {
        let Ok((len, _)) = relay.recv_from(&mut buffer) else {
            continue;
        };
        let sessions = shared.sessions();
        let Some(own) = sessions.iter().position(|session| session.client == client) else {
            return;
        };
        let to = shared.target(&sessions, own);
        if let Some((number, _)) = to.bound {
            let mut packet = ChannelData::header(number, len as u16).to_vec();
            packet.extend_from_slice(&buffer[..len]);
            shared.pass(&listener, to.client, packet);
        }
    }
}

fn answer(shared: &Arc<Shared>, from: SocketAddr, message: &Message<'_>) -> Vec<u8> {
    let success = MessageBuilder::answer(Class::Success, message);
    let mut sessions = shared.sessions();
    let own = sessions.iter().position(|session| session.client == from);
    match (message.method(), own) {
        (Method::Binding, _) => success.xor_address(AttributeType::XOR_MAPPED_ADDRESS, from),
        (Method::Allocate, _) => {
            let relay = Arc::new(UdpSocket::bind((shared.ip(), 0)).expect("a free port"));
            relay
                .set_read_timeout(Some(TICK))
                .expect("a timeout above zero");
            let address = relay.local_addr().expect("a bound socket has an address");
            sessions.push(Session {
                client: from,
                relay: relay.clone(),
                bound: None,
            });
            let shared = shared.clone();
            std::thread::spawn(move || down(&shared, from, &relay));
            success
                .xor_address(AttributeType::XOR_RELAYED_ADDRESS, address)
                .xor_address(AttributeType::XOR_MAPPED_ADDRESS, from)
                .number(AttributeType::LIFETIME, 600)
        }
        (Method::Refresh, Some(own)) => {
            let wanted = message.number(AttributeType::LIFETIME).ok().flatten();
            if wanted == Some(0) {
                sessions.remove(own);
            }
            success.number(AttributeType::LIFETIME, wanted.unwrap_or(600))
        }
        (Method::ChannelBind, Some(own)) => {
            let number = message.number(AttributeType::CHANNEL_NUMBER).ok().flatten();
            let number = number.and_then(|number| ChannelNumber::new((number >> 16) as u16));
            let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS);
            sessions[own].bound = number.zip(peer.ok().flatten());
            success
        }
        (_, Some(_)) => success,
        (_, None) => {
            let code = ErrorCode::new(437).expect("a code of three digits");
            MessageBuilder::answer(Class::Error, message).error_code(code)
        }
    }
    .finish()
}

impl Shared {
    fn ip(&self) -> std::net::IpAddr {
        let address = self.listener.local_addr();
        address.expect("a bound socket has an address").ip()
    }
}
