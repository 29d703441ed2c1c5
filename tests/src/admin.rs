//! The admin API from tests that are not async.

use std::path::Path;

use relayctl::client::{Address, ClientResult, ConnectOptions, HttpAdmin};
use tokio::runtime::Runtime;

/// The client of one node, with the runtime it needs.
#[derive(Debug)]
pub struct Admin {
    client: HttpAdmin,
    runtime: Runtime,
}

impl Admin {
    /// Calls go to this Unix socket.
    ///
    /// # Panics
    /// When the process is out of descriptors or threads.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        let address = Address::Unix(socket.to_owned());
        let client = HttpAdmin::new(address, ConnectOptions::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Self {
            client: client.expect("a Unix socket needs no certificates"),
            runtime: runtime.expect("a runtime on this thread"),
        }
    }

    /// Makes one call.
    ///
    /// # Errors
    /// What the call answers.
    pub fn call<'a, T, F>(&'a self, call: impl FnOnce(&'a HttpAdmin) -> F) -> ClientResult<T>
    where
        F: Future<Output = ClientResult<T>>,
    {
        self.runtime.block_on(call(&self.client))
    }
}
