//! A TURN server that is neither ours nor coturn's: the crate `turn-server-proto` on UDP sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use turn_server_proto::api::{SocketAllocateError, TurnServerApi as _, TurnServerPollRet};
use turn_server_proto::server::TurnServer;
use turn_server_proto::stun::Instant;
use turn_server_proto::stun::agent::Transmit;
use turn_server_proto::types::stun::TransportType;

use crate::address::{free_port, fresh_ip};

/// Datagrams between the sockets and the server.
const QUEUE: usize = 1024;
/// How long the server waits for a datagram before it looks at its timers.
const TICK: Duration = Duration::from_millis(50);

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct ForeignServer {
    /// Its listener.
    pub address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// A datagram.
struct Arrived {
    at: SocketAddr,
    from: SocketAddr,
    bytes: Vec<u8>,
}

impl ForeignServer {
    /// One with this realm, user and password.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(realm: &str, user: &str, password: &str) -> Self {
        let address = free_port(fresh_ip());
        let mut server = TurnServer::new(TransportType::Udp, address, realm.to_owned());
        server.add_user(user.to_owned(), password.to_owned());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let socket = std::net::UdpSocket::bind(address).expect("a free port");
        socket.set_nonblocking(true).expect("a fresh socket");
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(stopped.run_until_cancelled(serve(server, socket)));
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The sockets, each with a task that reads it.
struct Sockets {
    all: HashMap<SocketAddr, (Arc<UdpSocket>, AbortHandle)>,
    arrived: mpsc::Sender<Arrived>,
}

impl Sockets {
    fn add(&mut self, socket: UdpSocket) -> SocketAddr {
        let at = socket.local_addr().expect("a bound socket");
        let socket = Arc::new(socket);
        let (reader, arrived) = (socket.clone(), self.arrived.clone());
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok((len, from)) = reader.recv_from(&mut buffer).await {
                let bytes = buffer[..len].to_vec();
                if arrived.send(Arrived { at, from, bytes }).await.is_err() {
                    return;
                }
            }
        });
        self.all.insert(at, (socket, task.abort_handle()));
        at
    }

    fn remove(&mut self, at: SocketAddr) {
        if let Some((_, task)) = self.all.remove(&at) {
            task.abort();
        }
    }

    async fn send<T: AsRef<[u8]>>(&self, transmit: Transmit<T>) {
        if let Some((socket, _)) = self.all.get(&transmit.from) {
            let _ = socket.send_to(transmit.data.as_ref(), transmit.to).await;
        }
    }
}

async fn serve(mut server: TurnServer, listener: std::net::UdpSocket) {
    let base = std::time::Instant::now();
    let (sender, mut arrived) = mpsc::channel(QUEUE);
    let mut sockets = Sockets {
        all: HashMap::new(),
        arrived: sender,
    };
    sockets.add(UdpSocket::from_std(listener).expect("a runtime"));
    loop {
        progress(&mut server, &mut sockets, base).await;
        let Ok(Some(datagram)) = tokio::time::timeout(TICK, arrived.recv()).await else {
            continue;
        };
        let Arrived { at, from, bytes } = datagram;
        let transmit = Transmit::new(bytes, TransportType::Udp, from, at);
        if let Some(answer) = server.recv(transmit, Instant::from_std(base)) {
            let mut answer = answer.build();
            // The crate addresses Binding answers to itself.
            if answer.to == at {
                answer.to = from;
            }
            sockets.send(answer).await;
        }
    }
}

/// Does what the server wants done.
async fn progress(server: &mut TurnServer, sockets: &mut Sockets, base: std::time::Instant) {
    let now = Instant::from_std(base);
    loop {
        match server.poll(now) {
            TurnServerPollRet::AllocateSocket {
                transport,
                listen_addr,
                client_addr,
                allocation_transport,
                family,
            } => {
                let bound = UdpSocket::bind((listen_addr.ip(), 0)).await;
                let bound = bound.map(|socket| sockets.add(socket));
                server.allocated_socket(
                    transport,
                    listen_addr,
                    client_addr,
                    allocation_transport,
                    family,
                    bound.map_err(|_| SocketAllocateError::InsufficientCapacity),
                    now,
                );
            }
            TurnServerPollRet::SocketClose { listen_addr, .. } => sockets.remove(listen_addr),
            TurnServerPollRet::TcpConnect { .. } | TurnServerPollRet::TcpClose { .. } => {}
            TurnServerPollRet::WaitUntil(_) => break,
        }
    }
    while let Some(transmit) = server.poll_transmit(now) {
        sockets.send(transmit).await;
    }
}
