//! A double of coturn's command line, for releases that are not installed and for answers that none gives.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::coturn_host::{CLI_PASSWORD, transcript};

/// What becomes of `drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// A word, and the end of the connection.
    Said,
    /// The connection is reset, as by 4.18, which throws away what it says.
    Silent,
    /// The first connection breaks, and who answers then knows no such command.
    Breaks,
}

/// What it answers, and what it was asked.
#[derive(Debug)]
pub struct Answers {
    /// The line with its version.
    pub software: String,
    /// To `ps`.
    pub sessions: String,
    /// To `pc`.
    pub parameters: String,
    /// To `drain`.
    pub drain: Drain,
    /// It ends the connection when it gets a password, as a process that crashes.
    pub dies_of_password: bool,
    /// Passwords that it got.
    pub passwords: u32,
    /// How often all sessions were listed.
    pub lists: u32,
    /// Every command but `ps` and `pc`, in order.
    pub commands: Vec<String>,
}

/// A listener that speaks as coturn 4.18.0 does. It ends with the process.
#[derive(Debug)]
pub struct FakeCli {
    /// Where it listens.
    pub address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    streams: Arc<Mutex<Vec<Weak<TcpStream>>>>,
}

impl FakeCli {
    /// Starts one with the transcripts of 4.18.0.
    ///
    /// # Panics
    /// When no port can be bound.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let answers = Arc::new(Mutex::new(Answers {
            software: "Coturn-4.18.0 'Gorst'".to_owned(),
            sessions: transcript("ps-4.18.0.txt"),
            parameters: transcript("pc-4.18.0.txt"),
            drain: Drain::Silent,
            lists: 0,
            dies_of_password: false,
            passwords: 0,
            commands: Vec::new(),
        }));
        let shared = Arc::clone(&answers);
        let streams = Arc::new(Mutex::new(Vec::new()));
        let open = Arc::clone(&streams);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let stream = Arc::new(stream);
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                open.push(Arc::downgrade(&stream));
                drop(open);
                let answers = Arc::clone(&shared);
                // Whoever hung up needs no answer.
                thread::spawn(move || drop(serve(&stream, &answers)));
            }
        });
        Self {
            address,
            answers,
            streams,
        }
    }

    /// Ends every connection, as a process does that ends; the next one is there at once.
    pub fn hang_up(&self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.drain(..).filter_map(|stream| stream.upgrade()) {
            // The other end may have hung up before.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What it answers from now on, and what it was asked.
    pub fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// What becomes of this `drain`.
    fn drained(&self) -> Drain {
        let drains = self.commands.iter().filter(|said| *said == "drain");
        match self.drain {
            Drain::Breaks if drains.count() == 1 => Drain::Silent,
            other => other,
        }
    }
}

fn serve(mut stream: &TcpStream, answers: &Mutex<Answers>) -> std::io::Result<()> {
    let lock = || answers.lock().unwrap_or_else(PoisonError::into_inner);
    let software = lock().software.clone();
    let greeting = format!("TURN Server\n{software}\n\nType '?' for help\nEnter password: \n");
    say(&mut stream, &greeting)?;
    let mut lines = BufReader::new(stream).lines();
    for tried in 1.. {
        let Some(line) = lines.next() else {
            return Ok(());
        };
        let line = line?;
        lock().passwords += 1;
        if lock().dies_of_password {
            return Ok(());
        }
        match line == CLI_PASSWORD {
            true => break,
            false if tried == 5 => return Ok(()),
            false => say(&mut stream, "Enter password: \n")?,
        }
    }
    say(&mut stream, "> ")?;
    for line in lines {
        let line = line?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (sessions, parameters) = {
            let mut answers = lock();
            answers.lists += u32::from(line == "ps");
            if verb != "ps" && verb != "pc" {
                answers.commands.push(line.clone());
            }
            (answers.sessions.clone(), answers.parameters.clone())
        };
        match verb {
            "ps" if rest.is_empty() => say(&mut stream, &format!("{sessions}> "))?,
            "ps" => say(&mut stream, "\n\n  Total sessions: 0\n\n> ")?,
            "pc" => say(&mut stream, &format!("{parameters}> "))?,
            // No prompt, as coturn has it.
            "tc" => say(&mut stream, &format!("  {rest}: ON\n"))?,
            "cc" => say(&mut stream, &format!("  {rest} (**)\n> "))?,
            "drain" => match lock().drained() {
                Drain::Said => {
                    say(&mut stream, "TURN server is draining\n")?;
                    return stream.shutdown(Shutdown::Both);
                }
                Drain::Silent => return reset(stream),
                Drain::Breaks => say(&mut stream, "Unknown command\n\n> ")?,
            },
            _ => say(&mut stream, "> ")?,
        }
    }
    Ok(())
}

/// What the other end did not get yet it never gets.
fn reset(stream: &TcpStream) -> std::io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Lines end as telnet has it.
fn say(stream: &mut &TcpStream, text: &str) -> std::io::Result<()> {
    let text = text.replace('\n', "\r\n");
    stream.write_all(text.as_bytes())
}
