//! Where output goes and where answers come from.

use std::fmt;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::process::Stdio;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use shared::{Secret, display_safe};

use super::exit::Failure;
use crate::editor;

/// The longest password or secret that is read, in bytes.
const MAX_SECRET: usize = 4096;

/// Who answers questions: a person at a terminal, or nobody.
pub trait Asked: Send {
    /// Whether somebody can answer.
    fn is_person(&self) -> bool;
    /// A line, without its end.
    ///
    /// # Errors
    /// The terminal is gone.
    fn line(&mut self) -> io::Result<String>;
    /// A line that does not show.
    ///
    /// # Errors
    /// The terminal is gone, or the person interrupts.
    fn secret(&mut self) -> io::Result<Secret<String>>;
    /// The first line of standard input, for `--password-stdin` and the like.
    ///
    /// # Errors
    /// It cannot be read, is too long or no UTF-8.
    fn piped_secret(&mut self) -> io::Result<Secret<String>>;
    /// `text` after the person has edited it.
    ///
    /// # Errors
    /// There is no editor, or it failed.
    fn edit(&mut self, text: &str) -> io::Result<String>;
}

/// Standard output, standard error, and whoever answers.
pub struct Terminal<'a> {
    /// Data.
    pub out: &'a mut (dyn Write + Send),
    /// Everything else.
    pub err: &'a mut (dyn Write + Send),
    /// Whoever answers questions.
    pub asked: &'a mut dyn Asked,
    /// Whether a person reads `out`.
    pub out_is_terminal: bool,
    /// Whether a person reads `err`.
    pub err_is_terminal: bool,
}

impl fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}

impl Terminal<'_> {
    /// Tells the operator something. A broken standard error breaks nothing else.
    pub fn note(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.err, "{}", display_safe(line));
        }
    }

    /// Asks `question` and takes only `expected` for a yes.
    ///
    /// # Errors
    /// Nobody can answer (use `--yes`), or the answer is another one.
    pub fn confirm(&mut self, question: &str, expected: &str) -> Result<(), Failure> {
        if !self.asked.is_person() {
            let what = "this asks before it acts, and standard input is no terminal: add --yes";
            return Err(Failure::Usage(what.to_owned()));
        }
        self.note(question);
        let _ = write!(self.err, "Type {expected} to go on: ");
        let _ = self.err.flush();
        let answer = self.asked.line()?;
        if answer.trim().eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(Failure::Other("nothing was done".to_owned()))
    }

    /// Asks for a password twice, or takes it from standard input.
    ///
    /// # Errors
    /// Nobody can answer, the two differ, or it is empty.
    pub fn password(&mut self, what: &str, piped: bool) -> Result<Secret<String>, Failure> {
        if piped {
            let password = self.asked.piped_secret()?;
            return not_empty(password, what);
        }
        if !self.asked.is_person() {
            let what =
                format!("standard input is no terminal: pipe the {what} and say so by a flag");
            return Err(Failure::Usage(what));
        }
        let first = self.hidden(&format!("New {what}: "))?;
        let second = self.hidden(&format!("New {what}, again: "))?;
        if first != second {
            return Err(Failure::Other(
                "the two are not the same; nothing was done".to_owned(),
            ));
        }
        not_empty(first, what)
    }

    /// Asks for one thing that does not show.
    pub(super) fn hidden(&mut self, prompt: &str) -> Result<Secret<String>, Failure> {
        let _ = write!(self.err, "{prompt}");
        let _ = self.err.flush();
        let secret = self.asked.secret();
        let _ = writeln!(self.err);
        Ok(secret?)
    }
}

fn not_empty(secret: Secret<String>, what: &str) -> Result<Secret<String>, Failure> {
    if secret.expose().is_empty() {
        return Err(Failure::Usage(format!("the {what} is empty")));
    }
    Ok(secret)
}

/// The process's own terminal.
#[derive(Debug, Default)]
pub struct Person;

impl Asked for Person {
    fn is_person(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn secret(&mut self) -> io::Result<Secret<String>> {
        let _raw = RawMode::enter()?;
        read_hidden()
    }

    fn piped_secret(&mut self) -> io::Result<Secret<String>> {
        let mut bytes = Vec::with_capacity(MAX_SECRET);
        io::stdin()
            .take(MAX_SECRET as u64 + 1)
            .read_to_end(&mut bytes)?;
        let too_long = bytes.len() > MAX_SECRET;
        let text = String::from_utf8(bytes).map_err(|_| io::Error::other("no UTF-8"))?;
        if too_long {
            return Err(io::Error::other("more than 4096 bytes on standard input"));
        }
        let text = Secret::new(text);
        let line = text.expose().lines().next().unwrap_or_default();
        Ok(Secret::new(line.to_owned()))
    }

    fn edit(&mut self, text: &str) -> io::Result<String> {
        let file = editor::new_file(text)?;
        let status = editor::command(&file).stdin(Stdio::inherit()).status()?;
        if !status.success() {
            let file = file.display();
            let what = format!("the editor ended with {status}; its text is in {file}");
            return Err(io::Error::other(what));
        }
        let text = editor::read(&file)?;
        // What was typed is with the caller now, who keeps it if it cannot be applied.
        let _ = std::fs::remove_file(file);
        Ok(text)
    }
}

/// Keeps the terminal from echoing for as long as it lives.
struct RawMode;

impl RawMode {
    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        Ok(Self)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = disable_raw_mode();
    }
}

fn read_hidden() -> io::Result<Secret<String>> {
    // Reserved at once: a growing String would leave pieces of the secret in freed memory.
    let mut text = String::with_capacity(MAX_SECRET + 4);
    loop {
        let Event::Key(key) = event::read()? else {
            continue;
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Ok(Secret::new(text)),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char('c' | 'd') if control => {
                drop(Secret::new(text));
                return Err(io::ErrorKind::Interrupted.into());
            }
            KeyCode::Char('u') if control => text.clear(),
            KeyCode::Char(c) if !control && text.len() < MAX_SECRET => text.push(c),
            _ => {}
        }
    }
}
