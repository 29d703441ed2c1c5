//! Where log lines go: standard error or output, a file, or the system's log.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::config::{LogConfig, LogOutput};
use crate::trusted;

/// Where the system's log listens.
const SYSLOG: &str = "/dev/log";
/// Severities of syslog (RFC 5424 §6.2.1) by the words of our lines.
const SEVERITIES: [(&str, u8); 4] = [("ERROR", 3), ("WARN", 4), ("INFO", 6), ("DEBUG", 7)];
/// How much of a line is searched for its level: behind the time, before any text of strangers.
const LEVEL_WITHIN: usize = 64;

/// An open place for lines.
#[derive(Debug)]
pub(super) enum Output {
    Stderr,
    Stdout,
    File {
        path: PathBuf,
        file: File,
    },
    Syslog {
        socket: UnixDatagram,
        path: PathBuf,
        facility: u8,
    },
}

impl Output {
    /// Opens what the configuration names.
    pub(super) fn open(config: &LogConfig) -> io::Result<Self> {
        Ok(match &config.output {
            LogOutput::Stderr => Self::Stderr,
            LogOutput::Stdout => Self::Stdout,
            LogOutput::File(path) => Self::File {
                file: open(path)?,
                path: path.clone(),
            },
            LogOutput::Syslog => Self::syslog(Path::new(SYSLOG), config.syslog_facility)?,
        })
    }

    fn syslog(path: &Path, facility: u8) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("log.output = \"syslog\": {}: {error}", path.display()),
            )
        };
        socket.connect(path).map_err(named)?;
        Ok(Self::Syslog {
            socket,
            path: path.to_owned(),
            facility,
        })
    }

    /// Opens a file anew; the rest stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            *file = open(path)?;
        }
        Ok(())
    }

    /// Writes one line, its newline included.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().write_all(line.as_bytes()),
            Self::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Self::File { file, .. } => file.write_all(line.as_bytes()),
            Self::Syslog {
                socket,
                path,
                facility,
            } => {
                let message = message(line, *facility);
                // Whoever reads it may have been started again since.
                socket.send(message.as_bytes()).or_else(|_| {
                    socket.connect(&*path)?;
                    socket.send(message.as_bytes())
                })?;
                Ok(())
            }
        }
    }
}

/// Appends; what is there already stays.
fn open(path: &Path) -> io::Result<File> {
    trusted::append(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A line as the system's log wants it: `<priority>relayd[pid]: text`.
fn message(line: &str, facility: u8) -> String {
    let head: String = line.chars().take(LEVEL_WITHIN).collect();
    let severity = SEVERITIES.iter().find(|(word, _)| head.contains(word));
    let severity = severity.map_or(7, |(_, severity)| *severity);
    let priority = u32::from(facility) * 8 + u32::from(severity);
    format!(
        "<{priority}>relayd[{}]: {}",
        std::process::id(),
        line.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_log_gets_priority_name_and_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let system = UnixDatagram::bind(&path).unwrap();
        let mut output = Output::syslog(&path, 19).unwrap();
        output
            .write("2026-01-01T00:00:00Z  WARN relay: low on ports\n")
            .unwrap();
        let mut buffer = [0; 256];
        let size = system.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
        let expected = format!("<156>relayd[{}]: 2026-01-01", std::process::id());
        assert!(
            text.starts_with(&expected) && text.ends_with("low on ports"),
            "{text}"
        );
        drop(system);
        std::fs::remove_file(&path).unwrap();
        let again = UnixDatagram::bind(&path).unwrap();
        output.write("x  INFO again\n").unwrap();
        assert!(again.recv(&mut buffer).is_ok());
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/relayd.log");
        let mut output = Output::File {
            file: open(&path).unwrap(),
            path: path.clone(),
        };
        output.write("one\n").unwrap();
        std::fs::rename(&path, path.with_extension("1")).unwrap();
        output.write("two\n").unwrap();
        output.reopen().unwrap();
        output.write("three\n").unwrap();
        assert_eq!(
            std::fs::read_to_string(path.with_extension("1")).unwrap(),
            "one\ntwo\n"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }
}
