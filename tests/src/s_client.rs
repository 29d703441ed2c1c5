//! `openssl s_client`: a TLS and DTLS client of other make than ours.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::program::{self, Sinks, finish, spawn};

/// The Debian package it comes with.
const PACKAGE: &str = "openssl";
/// How long a handshake and a goodbye may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Connects, with these flags besides, and says goodbye; everything that is printed of the handshake.
///
/// # Panics
/// When it is not installed or does not end.
#[must_use]
pub fn handshake(server: SocketAddr, flags: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &server.to_string()]);
    command.args(flags);
    let child = spawn(PACKAGE, command, &Sinks::Pipes);
    program::text(&finish("openssl", child, DEADLINE))
}

/// A DTLS 1.2 association that carries whatever it is given. Dropping it kills the client.
#[derive(Debug)]
pub struct DtlsTunnel {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
}

impl DtlsTunnel {
    /// Starts to connect, asking for this host (SNI).
    ///
    /// # Panics
    /// When it is not installed.
    #[must_use]
    pub fn start(server: SocketAddr, name: &str) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-dtls1_2"]);
        command.args(["-connect", &server.to_string(), "-servername", name]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("openssl: {error}; it comes with `{PACKAGE}`"));
        let input = child.stdin.take().expect("a pipe was asked for");
        let mut from = child.stdout.take().expect("a pipe was asked for");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            input,
            output,
        }
    }

    /// Sends a message, once the handshake is done.
    ///
    /// # Errors
    /// The client has ended.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.input.write_all(message)?;
        self.input.flush()
    }

    /// The next message from the server; `None`: none came in time, or the client has ended.
    #[must_use]
    pub fn recv(&self, wait: Duration) -> Option<Vec<u8>> {
        self.output.recv_timeout(wait).ok()
    }
}

impl Drop for DtlsTunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
