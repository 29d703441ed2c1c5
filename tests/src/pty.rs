//! A terminal of our own: a pseudo-terminal with a model of the screen behind it.
//!
//! Unlike [`tmux`](crate::tmux) it knows every attribute of every cell and every byte that was written.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::wait::{wait_for, wait_until};

/// How long a program may take for anything on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the terminal has seen.
struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

impl Seen {
    /// The rows of the screen, trailing blanks cut.
    fn text(&self) -> String {
        let screen = self.parser.screen();
        let (_, columns) = size(screen);
        let mut text = String::new();
        for row in screen.rows(0, columns) {
            let _ = writeln!(text, "{}", row.trim_end());
        }
        text
    }
}

impl Seen {
    fn inverted_rows(&self) -> Vec<u16> {
        let screen = self.parser.screen();
        let (rows, columns) = size(screen);
        let inverted = |row: &u16| {
            let cells = (0..columns).filter_map(|column| screen.cell(*row, column));
            cells.filter(|cell| cell.inverse()).count() * 2 >= usize::from(columns)
        };
        (0..rows).filter(inverted).collect()
    }

    fn cursor_row(&self) -> Option<String> {
        let row = *self.inverted_rows().first()?;
        let screen = self.parser.screen();
        let (_, columns) = size(screen);
        screen.rows(0, columns).nth(row.into())
    }
}

/// A program in a terminal; both end with the value.
pub struct Pty {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<Mutex<Seen>>,
    /// Told whenever something was written.
    written: Arc<Condvar>,
    reader: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Pty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pty").finish_non_exhaustive()
    }
}

/// A program to be started in a terminal.
#[derive(Debug)]
pub struct PtyCommand {
    command: CommandBuilder,
    size: (u16, u16),
}

impl PtyCommand {
    /// `program` in a terminal of 80 by 24 that has 256 colours and tells nothing else.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        let mut command = CommandBuilder::new(program);
        for name in ["NO_COLOR", "COLORTERM", "TMUX", "STY", "RELAYCTL_CONTEXT"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        Self {
            command,
            size: (80, 24),
        }
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// A variable that is not there.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// The working directory.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.command.cwd(folder);
        self
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(mut self, columns: u16, rows: u16) -> Self {
        self.size = (columns, rows);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When there is no pseudo-terminal or no such program.
    #[must_use]
    pub fn start(self) -> Pty {
        let (columns, rows) = self.size;
        let pair = native_pty_system()
            .openpty(pty_size(columns, rows))
            .expect("the kernel gives pseudo-terminals");
        let child = pair
            .slave
            .spawn_command(self.command)
            .expect("the program starts");
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().expect("a reader");
        let writer = pair.master.take_writer().expect("the first writer");
        let seen = Arc::new(Mutex::new(Seen {
            parser: vt100::Parser::new(to_nonzero(rows), to_nonzero(columns), 0),
            bytes: Vec::new(),
        }));
        let told = Arc::clone(&seen);
        let written = Arc::new(Condvar::new());
        let writes = Arc::clone(&written);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            // The other end of a pseudo-terminal that is gone reads as an error.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut seen = told.lock().unwrap_or_else(PoisonError::into_inner);
                seen.parser.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
                writes.notify_all();
            }
        });
        Pty {
            master: Some(pair.master),
            writer: Some(writer),
            child,
            seen,
            written,
            reader: Some(reader),
        }
    }
}

/// The model knows no empty screen.
fn to_nonzero(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap_or(NonZero::<u16>::MIN)
}

/// Rows and columns.
fn size(screen: &vt100::Screen) -> (u16, u16) {
    let (rows, columns) = screen.size();
    (rows.get(), columns.get())
}

fn pty_size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    }
}

impl Pty {
    fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rows of the screen, trailing blanks cut.
    #[must_use]
    pub fn screen(&self) -> String {
        self.look(Seen::text)
    }

    /// The text of the row under the cursor: the first that is mostly inverted.
    #[must_use]
    pub fn cursor_row(&self) -> Option<String> {
        self.look(Seen::cursor_row)
    }

    /// Looks at the screen and the row under the cursor after each write until they satisfy
    /// `condition`, for measurements: when that was. `None` when they did not in time.
    #[must_use]
    pub fn seen_at(
        &self,
        mut condition: impl FnMut(&str, Option<&str>) -> bool,
    ) -> Option<Instant> {
        let end = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if condition(&seen.text(), seen.cursor_row().as_deref()) {
                return Some(Instant::now());
            }
            let left = end.checked_duration_since(Instant::now())?;
            let waited = self.written.wait_timeout(seen, left);
            (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Everything that was written so far.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.look(|seen| seen.bytes.clone())
    }

    /// How many bytes were written so far.
    #[must_use]
    pub fn written_bytes(&self) -> usize {
        self.look(|seen| seen.bytes.len())
    }

    /// The rows in which at least half of the cells are inverted.
    #[must_use]
    pub fn inverted_rows(&self) -> Vec<u16> {
        self.look(Seen::inverted_rows)
    }

    /// Whether any cell of the row is inverted.
    #[must_use]
    pub fn has_inverted(&self, row: u16) -> bool {
        self.focus().iter().any(|(at, _)| *at == row)
    }

    /// Row and column of every inverted cell: the cursor, the chosen row, the focused button.
    #[must_use]
    pub fn focus(&self) -> Vec<(u16, u16)> {
        self.look(|seen| {
            let screen = seen.parser.screen();
            let (rows, columns) = size(screen);
            let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
            let inverted = |(row, column): &(u16, u16)| {
                screen.cell(*row, *column).is_some_and(vt100::Cell::inverse)
            };
            cells.filter(inverted).collect()
        })
    }

    /// Whether the alternate screen is shown.
    #[must_use]
    pub fn on_alternate_screen(&self) -> bool {
        self.look(|seen| seen.parser.screen().alternate_screen())
    }

    /// Types. `\r` is Enter, `\x1b` Escape.
    ///
    /// # Panics
    /// When the terminal was taken away before.
    pub fn keys(&mut self, keys: &str) {
        let writer = self.writer.as_mut().expect("the terminal is there");
        writer.write_all(keys.as_bytes()).expect("it takes keys");
        writer.flush().expect("it takes keys");
    }

    /// Another size.
    ///
    /// # Panics
    /// When the terminal was taken away before.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.parser
            .screen_mut()
            .set_size(to_nonzero(rows), to_nonzero(columns));
        let master = self.master.as_ref().expect("the terminal is there");
        master
            .resize(pty_size(columns, rows))
            .expect("it can be resized");
    }

    /// Waits until the screen satisfies `condition`; the screen.
    ///
    /// # Panics
    /// When it does not in time; the message has the last screen.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        wait_for(what, PATIENCE * 2, || {
            let screen = self.screen();
            let found = condition(&screen);
            assert!(
                found || Instant::now() < end,
                "waited in vain for {what}; the screen:\n{screen}"
            );
            found.then_some(screen)
        })
    }

    /// Waits until the screen contains `text`; the screen.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_text(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// The process id.
    ///
    /// # Panics
    /// When it was waited for.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("a running program")
    }

    /// Whether the program has ended.
    pub fn is_gone(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits until the program has ended and everything it wrote was read; its exit code.
    ///
    /// # Panics
    /// When it does not end in time; the message has the last screen.
    #[track_caller]
    pub fn wait_exit(&mut self) -> u32 {
        wait_until("the program to end", PATIENCE, || self.is_gone());
        let status = self.child.wait().expect("it has ended");
        self.writer = None;
        self.master = None;
        // A program that another test started at the same moment may have inherited the terminal's
        // other end: then its end never comes, and what has been read for a while is all there is.
        let mut quiet = (0, self.written_bytes());
        wait_until("the last of its output", PATIENCE, || {
            let bytes = self.written_bytes();
            quiet = if bytes == quiet.1 {
                (quiet.0 + 1, bytes)
            } else {
                (0, bytes)
            };
            self.reader.as_ref().is_none_or(JoinHandle::is_finished) || quiet.0 > 15
        });
        status.exit_code()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
