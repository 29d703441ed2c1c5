//! A gate before a server: passes everything on, until a word comes that it is to hold. Then that
//! connection stands still in the middle of what it was doing, until the gate is opened. Or what has a word
//! in it passes later, or is counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wait::wait_for;

/// Bytes passed on at once.
const CHUNK: usize = 64 * 1024;

/// A gate; gone with the value.
#[derive(Debug)]
pub struct Gate {
    /// Its port on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What is held, and how often it passes before.
    word: Option<(&'static [u8], u32)>,
    /// What passes after such a time.
    slow: Option<(&'static [u8], Duration)>,
    /// What is counted, and how often it came.
    counted: Option<(&'static [u8], usize)>,
    /// Somebody stands still.
    is_held: bool,
    has_ended: bool,
}

impl Gate {
    /// Before the server on that port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let shared = Arc::new(Shared::default());
        let of_listener = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_listener.state().has_ended {
                    return;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
                    continue;
                };
                let both = (client.try_clone(), server.try_clone());
                let (Ok(to_client), Ok(from_server)) = both else {
                    continue;
                };
                let shared = Arc::clone(&of_listener);
                std::thread::spawn(move || pass(client, server, Some(&shared)));
                std::thread::spawn(move || pass(from_server, to_client, None));
            }
        });
        Self { port, shared }
    }

    /// Holds what contains this word, after it passed so often.
    pub fn hold(&self, word: &'static [u8], passes: u32) {
        self.shared.state().word = Some((word, passes));
    }

    /// Lets what contains this word pass later by so much, as from far away.
    pub fn slow_down(&self, word: &'static [u8], by: Duration) {
        self.shared.state().slow = Some((word, by));
    }

    /// Counts how often this word comes from now on.
    pub fn count(&self, word: &'static [u8]) {
        self.shared.state().counted = Some((word, 0));
    }

    /// How often it came.
    #[must_use]
    pub fn counted(&self) -> usize {
        self.shared.state().counted.map_or(0, |(_, times)| times)
    }

    /// Whether somebody stands still.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.shared.state().is_held
    }

    /// Waits until somebody stands still.
    ///
    /// # Panics
    /// When nobody does within `deadline`.
    #[track_caller]
    pub fn wait_held(&self, deadline: Duration) {
        wait_for("the word at the gate", deadline, || {
            self.holds().then_some(())
        });
    }

    /// Lets everything pass.
    pub fn open(&self) {
        let mut state = self.shared.state();
        (state.word, state.is_held) = (None, false);
        self.shared.opened.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.state().has_ended = true;
        self.open();
        // The listener looks up.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands still where it is to be held, or for a while.
    fn look_at(&self, bytes: &[u8]) {
        let times = |word: &[u8]| {
            bytes
                .windows(word.len())
                .filter(|part| *part == word)
                .count()
        };
        let mut state = self.state();
        if let Some((word, count)) = &mut state.counted {
            *count += times(word);
        }
        if let Some((word, by)) = state.slow
            && times(word) > 0
        {
            let ended = self
                .opened
                .wait_timeout_while(state, by, |state| !state.has_ended);
            (state, _) = ended.unwrap_or_else(PoisonError::into_inner);
        }
        let Some((word, passes)) = &mut state.word else {
            return;
        };
        let found = times(word) as u32;
        if found <= *passes {
            *passes -= found;
            return;
        }
        (state.word, state.is_held) = (None, true);
        while state.is_held {
            state = self
                .opened
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Passes on what comes from the one to the other until either has enough.
fn pass(mut from: TcpStream, mut to: TcpStream, shared: Option<&Shared>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if let Some(shared) = shared {
            shared.look_at(&buffer[..read]);
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
