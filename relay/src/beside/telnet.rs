//! A client of coturn's command line: telnet without options, one command at a time.
//!
//! coturn takes each chunk that it reads for one command and ends most answers with a prompt. Not all:
//! `tc NAME` prints none, and what another release does is unknown. So every command says by which line
//! its answer is known to be whole, and a prompt alone ends only those that print nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use shared::{Secret, display_safe};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long coturn may be silent in the middle of an answer: it prints a long list without a pause.
const SILENCE: Duration = Duration::from_secs(5);
/// How long greeting and login may take in all.
const LOGIN: Duration = Duration::from_secs(10);
/// How long a whole answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes of one read.
const CHUNK: usize = 16_384;
/// The longest line that is read; the rest of a longer one is left out.
const MAX_LINE: usize = 4096;
/// Lines of one answer: beyond a million sessions something else talks.
const MAX_LINES: usize = 50_000_000;
/// What stands at the end of an answer, without a line feed.
const PROMPT: &[u8] = b"> ";
/// What is said before a password is known.
const PASSWORD: &str = "Enter password:";
/// The name of the program in its greeting.
const SOFTWARE: &str = "Coturn-";

/// Why the command line cannot be used, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CliError {
    /// Nobody listens.
    #[error(
        "nothing listens at {0}: start coturn, and switch its command line on (`cli` since 4.10, no `no-cli` \
         before; `cli-ip`, `cli-port` and a `cli-password`)"
    )]
    Refused(SocketAddr),
    /// The connection broke.
    #[error("the connection to {0} failed: {1}")]
    Io(SocketAddr, String),
    /// The other end closed it, as a process does that ends.
    #[error("the connection to {0} failed: coturn closed it")]
    Closed(SocketAddr),
    /// It was told to drain, which ends the connection.
    #[error("{0} was told to drain, and is connected to again")]
    Drained(SocketAddr),
    /// No answer in time.
    #[error("{0} does not answer: coturn hangs, or something else listens there")]
    Silent(SocketAddr),
    /// It is no coturn, or one that is too old.
    #[error("{0} is no coturn of 4.5 or later ({1}): name its command line in beside.cli")]
    Foreign(SocketAddr, String),
    /// The password is missing.
    #[error(
        "{0} asks for a password: set beside.password_file to a file with coturn's cli-password"
    )]
    NoPassword(SocketAddr),
    /// The password is wrong.
    #[error(
        "{0} refuses the password: put coturn's cli-password (not its hash) into beside.password_file; it is \
         tried again once a minute"
    )]
    WrongPassword(SocketAddr),
    /// coturn went away when it got the password.
    #[error(
        "{0} closed the connection when it got the password, which is not sent again: some builds of coturn 4.6 \
         die of a hashed cli-password; write the plain one into turnserver.conf (readable by coturn alone), \
         restart coturn, then relayd"
    )]
    DiedOfPassword(SocketAddr),
}

/// What the server said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Greeting {
    /// Its version, as in `4.6.1`.
    pub version: String,
}

impl Greeting {
    /// Whether it is at least this release; what has no numbers is.
    pub(super) fn is_at_least(&self, wanted: [u32; 3]) -> bool {
        let mut parts = self.version.split('.');
        let own = [(); 3].map(|()| parts.next().and_then(|part| part.parse().ok()).unwrap_or(0));
        own >= wanted
    }
}

/// How a command that ends the connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// coturn said so.
    Said,
    /// The connection was closed without a word: 4.18 throws away what it wrote last, and a process that
    /// dies looks the same.
    Silent,
}

/// A connection that is ready for commands.
#[derive(Debug)]
pub(super) struct Cli {
    address: SocketAddr,
    stream: TcpStream,
    input: Input,
    /// What one read brings.
    chunk: Vec<u8>,
    /// What the server said of itself.
    pub greeting: Greeting,
}

/// How the end of an answer is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The next prompt.
    Prompt,
    /// A prompt after a line that begins so.
    PromptAfter(&'static str),
    /// A line that begins so.
    Line(&'static str),
}

impl Cli {
    /// Connects, and proves who we are. The password is sent once: coturn counts five inputs before it
    /// closes, and a wrong one gets no better.
    ///
    /// # Errors
    /// See [`CliError`].
    pub(super) async fn open(
        address: SocketAddr,
        password: Option<&Secret<String>>,
    ) -> Result<Self, CliError> {
        let stream = match timeout(CONNECT, TcpStream::connect(address)).await {
            Err(_) => return Err(CliError::Silent(address)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(CliError::Refused(address));
            }
            Ok(Err(error)) => return Err(CliError::Io(address, error.to_string())),
            Ok(Ok(stream)) => stream,
        };
        // A command is one segment, and must not wait for the next one.
        if let Err(error) = stream.set_nodelay(true) {
            return Err(CliError::Io(address, error.to_string()));
        }
        let mut cli = Self {
            address,
            stream,
            input: Input::default(),
            chunk: vec![0; CHUNK],
            greeting: Greeting::default(),
        };
        let login = async {
            if cli.greet().await? {
                cli.log_in(password).await?;
            }
            Ok(())
        };
        timeout(LOGIN, login)
            .await
            .unwrap_or(Err(CliError::Silent(address)))?;
        Ok(cli)
    }

    /// Reads the greeting; whether a password is asked for.
    async fn greet(&mut self) -> Result<bool, CliError> {
        let mut first = String::new();
        loop {
            match self.next().await? {
                Token::Prompt => {
                    self.need_version(&first)?;
                    return Ok(false);
                }
                Token::Line(line) => {
                    if let Some((_, version)) = line.split_once(SOFTWARE) {
                        let number = |c: &char| c.is_ascii_digit() || *c == '.';
                        self.greeting.version = version.chars().take_while(number).collect();
                    }
                    if line.trim_start().starts_with(PASSWORD) {
                        self.need_version(&first)?;
                        return Ok(true);
                    }
                    if first.is_empty() {
                        first = line.chars().take(60).collect();
                    }
                    self.input.lines += 1;
                    if self.input.lines > 20 {
                        return Err(CliError::Foreign(self.address, display_safe(&first).into()));
                    }
                }
            }
        }
    }

    fn need_version(&self, first: &str) -> Result<(), CliError> {
        if !self.greeting.version.is_empty() && self.greeting.is_at_least([4, 5, 0]) {
            return Ok(());
        }
        let said = match self.greeting.version.as_str() {
            "" => format!("it says {:?}", display_safe(first)),
            version => format!("it is {version}"),
        };
        Err(CliError::Foreign(self.address, said))
    }

    async fn log_in(&mut self, password: Option<&Secret<String>>) -> Result<(), CliError> {
        let Some(password) = password else {
            return Err(CliError::NoPassword(self.address));
        };
        self.write(password.expose()).await?;
        loop {
            match self.next().await {
                Ok(Token::Prompt) => return Ok(()),
                Ok(Token::Line(line)) if line.trim_start().starts_with(PASSWORD) => {
                    return Err(CliError::WrongPassword(self.address));
                }
                Ok(Token::Line(_)) => {}
                Err(CliError::Closed(_)) => return Err(CliError::DiedOfPassword(self.address)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a command and hands every line of its answer over.
    ///
    /// # Errors
    /// The connection broke, coturn fell silent, or it does not come to an end: this one is of no use any
    /// more.
    pub(super) async fn run(
        &mut self,
        command: &str,
        end: End,
        mut take: impl FnMut(&str),
    ) -> Result<(), CliError> {
        let mut is_whole = matches!(end, End::Prompt);
        self.answer(command, |token| {
            let Token::Line(line) = token else {
                // Another one is what an earlier command left behind.
                return is_whole;
            };
            take(line);
            match end {
                End::PromptAfter(start) => is_whole |= line.starts_with(start),
                End::Line(start) => return line.starts_with(start),
                End::Prompt => {}
            }
            false
        })
        .await
    }

    /// Sends a command and hands every line of its answer over; it ends by the first prompt after a line
    /// of which `take` says that the answer is whole with it.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(super) async fn run_until(
        &mut self,
        command: &str,
        mut take: impl FnMut(&str) -> bool,
    ) -> Result<(), CliError> {
        let mut is_whole = false;
        self.answer(command, |token| {
            let Token::Line(line) = token else {
                return is_whole;
            };
            is_whole |= take(line);
            false
        })
        .await
    }

    /// Sends a command and reads until a token is the last one.
    async fn answer(
        &mut self,
        command: &str,
        mut is_last: impl FnMut(&Token) -> bool,
    ) -> Result<(), CliError> {
        debug_assert!(is_sendable(command), "{command:?} would be another command");
        let address = self.address;
        let reading = async {
            self.write(command).await?;
            for _ in 0..MAX_LINES {
                if is_last(&self.next().await?) {
                    return Ok(());
                }
            }
            Err(CliError::Foreign(address, "it never stops".to_owned()))
        };
        let read = timeout(ANSWER, reading).await;
        read.unwrap_or(Err(CliError::Silent(address)))
    }

    /// Sends a command that ends the connection.
    ///
    /// # Errors
    /// It could not be sent, or the connection stays.
    pub(super) async fn run_last(&mut self, command: &str) -> Result<Goodbye, CliError> {
        let mut is_heard = false;
        let done = self
            .answer(command, |token| match token {
                Token::Prompt => is_heard,
                Token::Line(_) => {
                    is_heard = true;
                    false
                }
            })
            .await;
        match done {
            Err(CliError::Closed(_)) if is_heard => Ok(Goodbye::Said),
            Err(CliError::Closed(_)) => Ok(Goodbye::Silent),
            Err(error) => Err(error),
            Ok(()) => {
                let reason = format!("{command:?} did not end it");
                Err(CliError::Io(self.address, reason))
            }
        }
    }

    async fn write(&mut self, command: &str) -> Result<(), CliError> {
        self.send(format!("{command}\r\n").as_bytes()).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = timeout(SILENCE, self.stream.write_all(bytes)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_over(&error) => Err(CliError::Closed(self.address)),
            Ok(Err(error)) => Err(CliError::Io(self.address, error.to_string())),
            Err(_) => Err(CliError::Silent(self.address)),
        }
    }

    async fn next(&mut self) -> Result<Token, CliError> {
        loop {
            if let Some(token) = self.input.token() {
                return Ok(token);
            }
            let read = timeout(SILENCE, self.stream.read(&mut self.chunk)).await;
            let count = match read {
                Err(_) => return Err(CliError::Silent(self.address)),
                Ok(Err(error)) if is_over(&error) => {
                    return Err(CliError::Closed(self.address));
                }
                Ok(Err(error)) => return Err(CliError::Io(self.address, error.to_string())),
                Ok(Ok(0)) => return Err(CliError::Closed(self.address)),
                Ok(Ok(count)) => count,
            };
            let answer = self.input.feed(&self.chunk[..count]);
            if !answer.is_empty() {
                self.send(&answer).await?;
            }
        }
    }
}

/// Whether a text is one command: a line feed would make two of it, and bytes beyond ASCII may be
/// telnet's.
pub(super) fn is_sendable(command: &str) -> bool {
    command.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// What an answer is made of.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Line(String),
    Prompt,
}

/// Where the decoder of telnet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Data,
    /// Behind IAC.
    Command,
    /// Behind IAC and this verb.
    Option(u8),
    /// In a subnegotiation.
    Sub,
    /// There, behind IAC.
    SubCommand,
}

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;

/// What came and was not taken yet.
#[derive(Debug, Default)]
struct Input {
    telnet: Telnet,
    bytes: Vec<u8>,
    /// Where the first line that was not taken begins.
    start: usize,
    /// Up to where no line feed is.
    searched: usize,
    lines: usize,
}

impl Input {
    /// Takes bytes of the connection; answers what has to be sent back: every option is refused.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        for &byte in bytes {
            self.telnet = match (self.telnet, byte) {
                (Telnet::Data, IAC) => Telnet::Command,
                (Telnet::Data, byte) => {
                    self.push(byte);
                    Telnet::Data
                }
                (Telnet::Command, IAC) => {
                    self.push(IAC);
                    Telnet::Data
                }
                (Telnet::Command, verb @ (DO | DONT | WILL | WONT)) => Telnet::Option(verb),
                (Telnet::Command, SB) => Telnet::Sub,
                // No line feed belongs to a negotiation: what is left open may be a client's ORIGIN.
                (Telnet::Command | Telnet::Option(_) | Telnet::Sub | Telnet::SubCommand, b'\n') => {
                    self.push(byte);
                    Telnet::Data
                }
                (Telnet::Command, _) => Telnet::Data,
                (Telnet::Option(verb), option) => {
                    match verb {
                        DO => answer.extend([IAC, WONT, option]),
                        WILL => answer.extend([IAC, DONT, option]),
                        _ => {}
                    }
                    Telnet::Data
                }
                (Telnet::Sub, IAC) => Telnet::SubCommand,
                (Telnet::Sub, _) => Telnet::Sub,
                (Telnet::SubCommand, SE) => Telnet::Data,
                (Telnet::SubCommand, _) => Telnet::Sub,
            };
        }
        answer
    }

    fn push(&mut self, byte: u8) {
        let length = self.bytes.len() - self.searched.min(self.bytes.len());
        // The rest of an endless line is nobody's.
        if byte == b'\n' || length < MAX_LINE {
            self.bytes.push(byte);
        }
        if byte == b'\n' {
            self.searched = self.bytes.len();
        }
    }

    fn token(&mut self) -> Option<Token> {
        let rest = &self.bytes[self.start..];
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let mut line = &rest[..end];
            while let Some(behind) = line.strip_prefix(PROMPT) {
                line = behind;
            }
            let text = String::from_utf8_lossy(line);
            let text = text.trim_end_matches(['\r', '\0']).to_owned();
            self.start += end + 1;
            return Some(Token::Line(text));
        }
        let is_prompt = !rest.is_empty() && rest.chunks(2).all(|chunk| chunk == PROMPT);
        if is_prompt {
            self.start = self.bytes.len();
            self.searched = self.start;
        }
        is_prompt.then_some(Token::Prompt)
    }
}

/// Whether the other side closed, in whatever way.
fn is_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(input: &mut Input, bytes: &[u8]) -> (Vec<Token>, Vec<u8>) {
        let answer = input.feed(bytes);
        (std::iter::from_fn(|| input.token()).collect(), answer)
    }

    fn line(text: &str) -> Token {
        Token::Line(text.to_owned())
    }

    #[test]
    fn answers_come_apart_however_they_are_cut() {
        let bytes = b"\r\n  Total sessions: 0\r\n\r\n> ";
        let whole = tokens(&mut Input::default(), bytes).0;
        assert_eq!(
            whole,
            [
                line(""),
                line("  Total sessions: 0"),
                line(""),
                Token::Prompt
            ]
        );
        let mut input = Input::default();
        let cut: Vec<_> = bytes
            .iter()
            .flat_map(|byte| tokens(&mut input, &[*byte]).0)
            .collect();
        assert_eq!(cut, whole);
        let mut input = Input::default();
        let (left, _) = tokens(&mut input, b"> > ");
        assert_eq!(left, [Token::Prompt]);
        assert_eq!(tokens(&mut input, b"> x\n").0, [line("x")]);
    }

    #[test]
    fn every_option_is_refused_and_nothing_of_telnet_is_text() {
        let mut input = Input::default();
        let bytes = [
            IAC, DO, 1, b'a', IAC, WILL, 3, IAC, SB, 24, 1, b'z', IAC, SE, b'b', IAC, IAC, IAC,
            WONT, 5, b'\n',
        ];
        let (found, answer) = tokens(&mut input, &bytes);
        assert_eq!(found, [line("ab\u{fffd}")]);
        assert_eq!(answer, [IAC, WONT, 1, IAC, DONT, 3]);
        let bytes = [
            IAC, SB, b'x', b'\n', b'y', b'\n', IAC, DO, b'\n', b'z', b'\n',
        ];
        let (found, _) = tokens(&mut Input::default(), &bytes);
        assert_eq!(found, [line(""), line("y"), line(""), line("z")]);
    }

    #[test]
    fn an_endless_line_takes_no_endless_memory() {
        let mut input = Input::default();
        for _ in 0..1000 {
            assert!(tokens(&mut input, &[b'x'; 1000]).0.is_empty());
        }
        assert!(input.bytes.len() <= MAX_LINE);
        let (found, _) = tokens(&mut input, b"\nnext\n");
        assert_eq!((found.len(), &found[1]), (2, &line("next")));
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        let of = |version: &str| Greeting {
            version: version.to_owned(),
        };
        assert!(of("4.18.0").is_at_least([4, 6, 3]));
        assert!(!of("4.6.1").is_at_least([4, 6, 3]));
        assert!(!of("4.4").is_at_least([4, 5, 0]));
        assert!(!is_sendable("ps a\r\nstop") && !is_sendable("ps \u{e9}") && is_sendable("ps a b"));
    }

    proptest! {
        #[test]
        fn garbage_breaks_nothing(chunks: Vec<Vec<u8>>) {
            let mut input = Input::default();
            for chunk in &chunks {
                let (found, _) = tokens(&mut input, chunk);
                prop_assert!(found.len() <= chunk.len() + 1);
                prop_assert!(input.bytes.len() <= MAX_LINE + chunk.len() + 1);
            }
        }
    }
}
