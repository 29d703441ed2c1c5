//! A double of coturn's command line, for releases that are not installed and for answers that none gives.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::coturn_host::{CLI_PASSWORD, transcript};

/// What it answers, and what it was asked.
#[derive(Debug)]
pub struct Answers {
    /// The line with its version.
    pub software: String,
    /// To `ps`.
    pub sessions: String,
    /// To `pc`.
    pub parameters: String,
    /// It ends the connection when it gets a password, as a process that crashes.
    pub dies_of_password: bool,
    /// Passwords that it got.
    pub passwords: u32,
    /// Every command but `ps` and `pc`, in order.
    pub commands: Vec<String>,
}

/// A listener that speaks as coturn 4.17.1 does. It ends with the process.
#[derive(Debug)]
pub struct FakeCli {
    /// Where it listens.
    pub address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
}

impl FakeCli {
    /// Starts one with the transcripts of 4.17.1.
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
            software: "Coturn-4.17.1 'Gorst'".to_owned(),
            sessions: transcript("ps-4.17.1.txt"),
            parameters: transcript("pc-4.17.1.txt"),
            dies_of_password: false,
            passwords: 0,
            commands: Vec::new(),
        }));
        let shared = Arc::clone(&answers);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&shared);
                // Whoever hung up needs no answer.
                thread::spawn(move || drop(serve(stream, &answers)));
            }
        });
        Self { address, answers }
    }

    /// What it answers from now on, and what it was asked.
    pub fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(mut stream: TcpStream, answers: &Mutex<Answers>) -> std::io::Result<()> {
    let lock = || answers.lock().unwrap_or_else(PoisonError::into_inner);
    let software = lock().software.clone();
    let greeting = format!("TURN Server\n{software}\n\nType '?' for help\nEnter password: \n");
    say(&mut stream, &greeting)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
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
            "drain" => return say(&mut stream, "TURN server is draining\n"),
            _ => say(&mut stream, "> ")?,
        }
    }
    Ok(())
}

/// Lines end as telnet has it.
fn say(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    let text = text.replace('\n', "\r\n");
    stream.write_all(text.as_bytes())
}
