//! A worker whose turns the test asks for, so that it can look at what a single one does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kit::client::{Login, TurnClient};
use kit::stream::StreamClient;
use relay::worker::{News, WorkerByHand, WorkerPool};
use shared::WorkerId;
use turn_proto::Command;

use crate::{SECRET, setup};

/// The worker and where it listens, over UDP and TCP.
pub(crate) struct Hand {
    worker: WorkerByHand,
    pool: Arc<WorkerPool>,
    /// Kept, so that the worker has somebody to tell.
    _news: News,
    pub(crate) server: SocketAddr,
}

/// Ends the turns when it is dropped, also when the work fails.
struct Ending<'a> {
    done: &'a AtomicBool,
    pool: &'a WorkerPool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        // It may be asleep; any command wakes it.
        let _ = self.pool.send(WorkerId(0), Command::Snapshot);
    }
}

impl Hand {
    pub(crate) fn new() -> Self {
        let (setup, server, _) = setup("127.0.0.1", 1, false);
        let (worker, pool, news) = WorkerByHand::new(setup).unwrap();
        Self {
            worker,
            pool,
            _news: news,
            server,
        }
    }

    /// One turn.
    pub(crate) fn turn(&mut self) {
        assert!(self.worker.turn().unwrap());
    }

    /// Runs turns as long as `work` takes, which happens on another thread.
    pub(crate) fn serve<T: Send>(&mut self, work: impl FnOnce(SocketAddr) -> T + Send) -> T {
        let (done, server) = (AtomicBool::new(false), self.server);
        let pool = Arc::clone(&self.pool);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let _ending = Ending {
                    done: &done,
                    pool: &pool,
                };
                work(server)
            });
            while !done.load(Ordering::Relaxed) {
                self.turn();
            }
            let result = worker.join();
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A client over UDP with a channel to `peer`, and its relayed address.
    pub(crate) fn client(&mut self, channel: u16, peer: SocketAddr) -> (TurnClient, SocketAddr) {
        self.serve(|server| {
            let mut client = TurnClient::new(server, login()).unwrap();
            let relay = client.allocate().unwrap().relay;
            client.bind_channel(channel, peer).unwrap();
            (client, relay)
        })
    }

    /// A client over TCP with a channel to `peer`.
    pub(crate) fn stream(&mut self, channel: u16, peer: SocketAddr) -> StreamClient {
        self.serve(|server| {
            let mut client = StreamClient::tcp(server, login()).unwrap();
            client.allocate().unwrap();
            client.bind_channel(channel, peer).unwrap();
            client
        })
    }
}

fn login() -> Login {
    Login::rest("4000000000:alice", SECRET)
}
