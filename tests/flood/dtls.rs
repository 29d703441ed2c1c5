//! Hellos of DTLS from very many addresses, which never bring a cookie back or bring one that is none.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kit::certificate::TestCertificate;
use kit::coturn::{FOR_UCLIENT, Totals, Uclient, Way};
use kit::node::{Node, NodeOptions, stored_login};
use kit::wait::wait_until;

use crate::datagrams::Datagrams;
use crate::{Over, assert_flat, settled_memory};

const FIRST: u64 = 20_000;
const ALL: u64 = 200_000;
/// Hellos of one address and port.
const PER_SOURCE: u64 = 4;
/// Sources between two looks at the counter: what they send fits the node's receive buffers.
const ROUND: u64 = 200;
/// A run of `turnutils_uclient` on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn a_flood_of_dtls_hellos_leaves_no_state_draws_no_more_than_it_sends_and_keeps_nobody_out() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        top: FOR_UCLIENT.to_owned(),
        end: certificate.section(),
        max_sessions_per_user: Some(10),
        ..NodeOptions::default()
    });
    let mut flood = Flood::new(&node);
    flood.run_until(FIRST);
    let before = settled_memory(&node);
    let done = AtomicBool::new(false);
    let genuine = std::thread::scope(|scope| {
        let genuine = scope.spawn(|| {
            let _over = Over(&done);
            genuine_client(&node)
        });
        flood.run_until(ALL);
        while !done.load(Ordering::Relaxed) {
            flood.round();
        }
        genuine.join().unwrap()
    });
    assert_eq!(
        (genuine.received, genuine.lost),
        (genuine.sent, 0),
        "{}",
        genuine.text
    );
    assert!(genuine.sent > 0, "{}", genuine.text);
    let counted = node.sample("relayd_dtls_hellos_total").unwrap();
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let sent = flood.sent as f64;
    assert!(counted >= 0.9 * sent, "{counted} of {sent} hellos counted");
    // Nothing is kept of the flood: whatever was begun is the genuine client's.
    let gauge =
        |stage: &str| node.sample(&format!("relayd_dtls_associations{{stage=\"{stage}\"}}"));
    let begun = node.sample("relayd_dtls_handshakes_total").unwrap();
    assert!(
        (1.0..=4.0).contains(&begun),
        "{begun} handshakes were begun"
    );
    assert_eq!(gauge("half_open"), Some(0.0));
    assert!(gauge("open").unwrap() <= begun);
    let cookies = node.sample("relayd_dtls_cookies_sent_total").unwrap();
    let refused = node.sample("relayd_dtls_cookies_refused_total").unwrap();
    assert!(
        cookies > 0.3 * sent && refused > 0.3 * sent,
        "{cookies} {refused}"
    );
    assert_flat(before, settled_memory(&node));
}

/// Handshakes over DTLS, allocates, and relays a few messages.
fn genuine_client(node: &Node) -> Totals {
    let client = Uclient {
        server: node.turn,
        login: stored_login(),
        way: Way::Channels,
        clients: 1,
        messages: 5,
        flags: &["-S"],
        peer: None,
    };
    client.run(DEADLINE)
}

struct Flood<'n> {
    node: &'n Node,
    noise: Datagrams,
    source: u32,
    sent: u64,
}

impl<'n> Flood<'n> {
    fn new(node: &'n Node) -> Self {
        Self {
            node,
            noise: Datagrams::seeded(),
            source: 0,
            sent: 0,
        }
    }

    fn run_until(&mut self, total: u64) {
        while self.sent < total {
            self.round();
        }
    }

    /// Lets some sources say hello and looks at what each was answered.
    fn round(&mut self) {
        let sources: Vec<_> = (0..ROUND).map(|_| self.say_hello()).collect();
        self.keep_pace();
        for (socket, hello) in sources {
            let mut answer = [0; 2048];
            let mut answers = 0;
            while let Ok(len) = socket.recv(&mut answer) {
                assert!(len <= hello, "{len} bytes for a hello of {hello}");
                answers += 1;
            }
            assert!(
                answers <= PER_SOURCE,
                "{answers} answers to {PER_SOURCE} hellos"
            );
        }
    }

    /// Sends hellos of one kind and size from an address that had none before.
    fn say_hello(&mut self) -> (UdpSocket, usize) {
        self.source += 1;
        let octets = self.source.to_be_bytes();
        // Nobody else's: nodes and clients of the kit live in 127.1.0.0 and up, to 127.255.
        let from = Ipv4Addr::new(127, 0, octets[2], octets[3].max(2));
        let socket = UdpSocket::bind((IpAddr::V4(from), 0)).unwrap();
        socket.connect(self.node.turn).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (is_1_3, has_cookie) = (self.source & 1 == 0, self.source & 2 == 0);
        let mut hello = Vec::new();
        for _ in 0..PER_SOURCE {
            hello = client_hello(&mut self.noise, is_1_3, has_cookie);
            // A full send buffer costs one hello, which the 90 % allow.
            let _ = socket.send(&hello);
            self.sent += 1;
        }
        (socket, hello.len())
    }

    /// Waits until the node has received almost all, or clearly never will.
    fn keep_pace(&self) {
        let begun = Instant::now();
        wait_until(
            "the node to keep receiving",
            Duration::from_secs(30),
            || {
                let counted = self.node.sample("relayd_dtls_hellos_total").unwrap_or(0.0);
                #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
                let all = counted >= self.sent as f64;
                all || begun.elapsed() > Duration::from_millis(300)
            },
        );
    }
}

/// A ClientHello in one record (RFC 6347 §4.2.2; RFC 9147 §5.3 for 1.3), with noise for a cookie.
fn client_hello(noise: &mut Datagrams, is_1_3: bool, has_cookie: bool) -> Vec<u8> {
    let mut random =
        |len: usize| -> Vec<u8> { (0..len).map(|_| noise.choice(256) as u8).collect() };
    let cookie = random(if has_cookie { 32 } else { 0 });
    let mut body = vec![0xfe, 0xfd];
    body.extend(random(32));
    // No session id; the cookie of 1.2.
    body.push(0);
    body.extend(with_len8(if is_1_3 { &[] } else { &cookie }));
    // TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression.
    body.extend([0, 4, 0x13, 0x01, 0xc0, 0x2b, 1, 0]);
    let mut extensions = Vec::new();
    // supported_groups: secp256r1, x25519; signature_algorithms: ecdsa_secp256r1_sha256.
    extensions.extend(extension(10, &[0, 4, 0, 23, 0, 29]));
    extensions.extend(extension(13, &[0, 2, 4, 3]));
    if is_1_3 {
        extensions.extend(extension(43, &[2, 0xfe, 0xfc]));
        let share = [&[0, 36, 0, 29, 0, 32][..], &random(32)].concat();
        extensions.extend(extension(51, &share));
        if has_cookie {
            extensions.extend(extension(44, &with_len16(&cookie)));
        }
    }
    body.extend(with_len16(&extensions));
    let len = body.len();
    let mut message = vec![1, 0, (len >> 8) as u8, len as u8, 0, 0, 0, 0, 0];
    message.extend([0, (len >> 8) as u8, len as u8]);
    message.extend(body);
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend(with_len16(&message));
    record
}

fn extension(number: u8, data: &[u8]) -> Vec<u8> {
    [&[0, number][..], &with_len16(data)].concat()
}

fn with_len8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8][..], bytes].concat()
}

fn with_len16(bytes: &[u8]) -> Vec<u8> {
    [&[(bytes.len() >> 8) as u8, bytes.len() as u8][..], bytes].concat()
}
