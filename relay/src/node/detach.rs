//! To the background: the program starts itself once more in a session of its own and stays until that
//! one serves, so that whoever started it sees every error, and finds everything bound afterwards.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use crate::config::LogOutput;

/// Tells the second process that it is one.
const VARIABLE: &str = "DETACHED_RELAYD";
/// What it says on its standard output when it serves.
const WORD: &[u8] = b"serving\n";
/// Exit status where the second process has none.
const FAILED: u8 = 1;

/// Whether this is the process in the background.
#[must_use]
pub fn is_detached() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Starts the process in the background and waits until it serves, or ends: the exit status of this
/// one.
///
/// # Errors
/// The program cannot be started.
pub fn start() -> io::Result<u8> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(WORD.len() as u64).read_to_end(&mut said)?;
    }
    if said == WORD {
        return Ok(0);
    }
    let code = child
        .wait()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(FAILED))
}

/// Leaves the terminal: its end is not this process's.
///
/// # Errors
/// What the system says.
pub fn leave_terminal() -> io::Result<()> {
    rustix::process::setsid().map(drop).map_err(Into::into)
}

/// Tells the process that waits, and lets go of what it has from it.
pub(super) fn serving(log: &LogOutput) -> io::Result<()> {
    let mut output = io::stdout();
    output.write_all(WORD)?;
    output.flush()?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(nowhere.as_fd())?;
    if *log != LogOutput::Stdout {
        rustix::stdio::dup2_stdout(nowhere.as_fd())?;
    }
    if *log != LogOutput::Stderr {
        rustix::stdio::dup2_stderr(nowhere.as_fd())?;
    }
    Ok(())
}
