//! Log lines, written by a thread of their own.
//!
//! A reader that stalls, a full disk or a closed pipe never holds up the relay: lines wait in a
//! bounded queue, what does not fit is dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::output::Output;
use crate::config::{LogConfig, LogFormat};

/// Lines that wait to be written.
const QUEUE_LINES: usize = 4096;
/// The longest line written; the rest of a longer one is cut.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// How long the end of the process waits for the queue.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// Lines dropped because nobody took them, since the start of the process.
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Lines dropped because nobody took them, since the start of the process.
#[must_use]
pub fn lost_lines() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

/// Whether `level` is a level or filter.
///
/// # Errors
/// What is wrong with it.
pub fn check_level(level: &str) -> Result<(), String> {
    let known = ["error", "warn", "info", "debug", "trace", "off"];
    let is_word = level.chars().all(|c| c.is_ascii_alphanumeric());
    // A lone word that is no level would be taken for the name of a module.
    if level.is_empty() || (is_word && !known.contains(&level)) {
        return Err(format!("{:?} is no level", shared::display_safe(level)));
    }
    filter(level)
        .map(drop)
        .map_err(|_| format!("{:?} is no filter", shared::display_safe(level)))
}

fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(level)
}

/// Changes level or filter of the log while the process runs.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Changes level or filter.
    ///
    /// # Errors
    /// It is neither.
    pub fn set(&self, level: &str) -> io::Result<()> {
        let filter = filter(level).map_err(io::Error::other)?;
        self.0.reload(filter).map_err(io::Error::other)
    }
}

/// Keeps the log alive; dropping it writes out what waits, for at most a second.
#[derive(Debug)]
pub struct Log {
    level: LogLevel,
    queue: Option<SyncSender<Message>>,
    writer: Option<JoinHandle<()>>,
}

enum Message {
    Line(Vec<u8>),
    /// The file may have been moved away: open it anew.
    Reopen,
    /// The process ends: write nothing more.
    End,
}

impl Log {
    /// Starts the log of this process, and sends panics there.
    ///
    /// # Errors
    /// The file cannot be opened, the thread cannot be started, or the process has a log already.
    pub fn start(config: &LogConfig) -> io::Result<Self> {
        let filter = filter(&config.level).map_err(io::Error::other)?;
        let (filter, level) = reload::Layer::new(filter);
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let format = config.format;
        let output = Output::open(config)?;
        let writer = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(&lines, output, format))?;
        let sink = Sink {
            queue: queue.clone(),
        };
        let base = fmt::layer()
            .with_ansi(false)
            .log_internal_errors(false)
            .with_writer(sink);
        let layer: Box<dyn Layer<_> + Send + Sync> = match format {
            LogFormat::Text => base.boxed(),
            LogFormat::Json => base.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(layer)
            .try_init()
            .map_err(io::Error::other)?;
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        Ok(Self {
            level: LogLevel(level),
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    /// Opens the file anew, as after a rotation. Lines wait meanwhile; a file that cannot be opened
    /// leaves the one that is open.
    pub fn reopen(&self) {
        if let Some(queue) = &self.queue
            && queue.try_send(Message::Reopen).is_err()
        {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What changes its level.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.level.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_DEADLINE;
        let Some(queue) = self.queue.take() else {
            return;
        };
        let mut end = Message::End;
        while let Err(error) = queue.try_send(end) {
            end = match error {
                std::sync::mpsc::TrySendError::Full(message) => message,
                std::sync::mpsc::TrySendError::Disconnected(_) => return,
            };
            if Instant::now() > deadline {
                return;
            }
            std::thread::yield_now();
        }
        let Some(writer) = self.writer.take() else {
            return;
        };
        while !writer.is_finished() {
            if Instant::now() > deadline {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

fn write_lines(lines: &Receiver<Message>, mut output: Output, format: LogFormat) {
    let mut reported = 0;
    while let Ok(message) = lines.recv() {
        let line = match message {
            Message::Line(line) => line,
            Message::Reopen => {
                if let Err(error) = output.reopen() {
                    tracing::warn!(%error, "the log file cannot be opened anew");
                }
                continue;
            }
            Message::End => return,
        };
        let text = clean(&line, format);
        if output.write(&text).is_err() {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let lost = lost_lines();
        if lost != reported {
            reported = lost;
            tracing::warn!(lost, "log lines were lost since the start");
        }
    }
}

/// One line without control characters: what comes from the network can neither start a line of its
/// own nor reach a terminal's escape parser.
fn clean(line: &[u8], format: LogFormat) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\n');
    let mut out = match format {
        LogFormat::Text => {
            let text = text.replace('\n', " ");
            shared::display_safe(&text).into_owned()
        }
        LogFormat::Json => {
            // The serializer escapes what JSON demands; terminals know more control characters.
            let mut out = String::with_capacity(text.len());
            for c in text.chars() {
                if c.is_control() {
                    out.push_str(&format!("\\u{:04x}", u32::from(c)));
                } else {
                    out.push(c);
                }
            }
            out
        }
    };
    out.push('\n');
    out
}

#[derive(Clone)]
struct Sink {
    queue: SyncSender<Message>,
}

/// Collects one line and queues it when dropped.
struct Line {
    queue: SyncSender<Message>,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            queue: self.queue.clone(),
            bytes: Vec::new(),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = MAX_LINE_BYTES.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let line = std::mem::take(&mut self.bytes);
        if self.queue.try_send(Message::Line(line)).is_err() {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_line_stays_one_harmless_line() {
        let text = clean(b"user=a\x1b[2J\nINFO forged\n", LogFormat::Text);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains('\u{1b}'));
        let json = clean("{\"a\":\"x\u{9b}y\"}\n".as_bytes(), LogFormat::Json);
        assert_eq!(json, "{\"a\":\"x\\u009by\"}\n");
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }

    #[test]
    fn levels_and_filters_are_told_from_typos() {
        for good in ["info", "debug", "info,relay=debug", "relay::store=trace"] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        for bad in ["", "verbose", "inf", "relay=loud"] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_full_queue_drops_lines_and_counts_them() {
        let (queue, _lines) = sync_channel(1);
        let before = lost_lines();
        for _ in 0..3 {
            let mut line = Sink {
                queue: queue.clone(),
            }
            .make_writer();
            line.write_all(&[b'x'; 2 * MAX_LINE_BYTES]).unwrap();
        }
        assert!(lost_lines() >= before + 2);
    }
}
