//! A name server with a few records, which remembers what it was asked.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};

/// The largest question; EDNS does not matter here.
const DATAGRAM: usize = 1500;
/// Seconds that an answer may be kept.
const TTL: u32 = 60;

/// A name and what is known of it.
pub type Entry = (&'static str, RData);

/// An A or AAAA record.
#[must_use]
pub fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// An SRV record (RFC 2782); the target `.` says that there is no such service.
///
/// # Panics
/// When the target is no name.
#[must_use]
pub fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, name(target)))
}

/// A NAPTR record (RFC 3403) without an expression.
///
/// # Panics
/// When the replacement is no name.
#[must_use]
pub fn naptr(order: u16, flags: &str, services: &str, replacement: &str) -> RData {
    let boxed = |text: &str| text.as_bytes().into();
    let to = name(replacement);
    RData::NAPTR(NAPTR::new(
        order,
        0,
        boxed(flags),
        boxed(services),
        boxed(""),
        to,
    ))
}

fn name(text: &str) -> Name {
    Name::from_str(&format!("{}.", text.trim_end_matches('.'))).expect("a name of a test")
}

/// A running name server. Dropping it stops it.
#[derive(Debug)]
pub struct NameServer {
    /// Where it listens, UDP only.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one that knows these records and nothing else.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(entries: Vec<Entry>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free loopback port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (asked, stopped) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (questions, stop) = (Arc::clone(&asked), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || serve(&socket, &entries, &questions, &stop));
        Self {
            address,
            asked,
            stopped,
            thread: Some(thread),
        }
    }

    /// What it was asked, as in `SRV _turn._udp.example.org`, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes it up.
        let waker = UdpSocket::bind("127.0.0.1:0");
        let _ = waker.and_then(|waker| waker.send_to(&[], self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, entries: &[Entry], asked: &Mutex<Vec<String>>, stop: &AtomicBool) {
    let mut buffer = [0; DATAGRAM];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Some(answer) = answer(&buffer[..len], entries, asked) else {
            continue;
        };
        if socket.send_to(&answer, from).is_err() {
            return;
        }
    }
}

fn answer(bytes: &[u8], entries: &[Entry], asked: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let question = Message::from_vec(bytes).ok()?;
    let query = question.queries.first()?.clone();
    let plain = query.name.to_string().to_ascii_lowercase();
    let plain = plain.trim_end_matches('.').to_owned();
    {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(format!("{} {plain}", query.query_type));
    }
    let of_name = || entries.iter().filter(|(name, _)| *name == plain);
    let mut answer = question.into_response();
    if of_name().next().is_none() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    for (_, data) in of_name().filter(|(_, data)| data.record_type() == query.query_type) {
        answer.add_answer(Record::from_rdata(query.name.clone(), TTL, data.clone()));
    }
    answer.to_vec().ok()
}
