//! The file with the process id, for init scripts.

use std::fs::{File, symlink_metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::trusted;

/// The most that is read of one, bytes.
const MAX_BYTES: u64 = 64;

/// Holds the id while the node serves; gone with it, unless another process has written its own since.
///
/// It is opened before rights of root are given up and stays root's: whoever serves could else have an init
/// script end any process.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Opens it. One that cannot be opened is told of, and keeps nobody from serving. That of a coturn that
    /// runs stays: whoever stops coturn would end this node.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let opened = trusted::open(path, flags, mode).and_then(|mut file| {
            let text = read(&mut file)?;
            Ok((file, coturn_in(&text)))
        });
        match opened {
            Ok((file, None)) => Some(Self {
                path: path.to_owned(),
                file,
            }),
            Ok((_, Some(coturn))) => {
                let path = path.display();
                tracing::warn!(%path, coturn, "pid_file is that of a coturn that runs: name another one.");
                None
            }
            Err(error) => {
                warn(path, &error);
                None
            }
        }
    }

    /// Writes the id.
    pub(super) fn write(&mut self) {
        let written = self.replace(&format!("{}\n", std::process::id()));
        // The process before may have removed the file when it ended.
        let written = written.and_then(|()| match self.is_at_path() {
            false => Self::open(&self.path).map_or(Ok(()), |mut again| {
                std::mem::swap(self, &mut again);
                self.replace(&format!("{}\n", std::process::id()))
            }),
            true => Ok(()),
        });
        if let Err(error) = written {
            warn(&self.path, &error);
        }
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())
    }

    /// Whether it holds this process's id, or nothing, as a start that failed leaves it.
    fn is_ours(&mut self) -> io::Result<bool> {
        let text = read(&mut self.file)?;
        Ok(text.is_empty() || text.trim() == std::process::id().to_string())
    }

    /// Whether the path still leads here; yes where nobody may look.
    fn is_at_path(&self) -> bool {
        match (symlink_metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(own)) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
            (Err(error), _) => error.kind() != ErrorKind::NotFound,
            (Ok(_), Err(_)) => false,
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if !self.is_ours().unwrap_or(false) || !self.is_at_path() {
            return;
        }
        let Err(error) = std::fs::remove_file(&self.path) else {
            return;
        };
        // Its folder is closed to whom rights were given up for; the file itself was opened before.
        let _ = self.file.set_len(0);
        let path = self.path.display();
        tracing::warn!(%error, %path, "pid_file stays behind, empty: give proc_user a folder of its own for it.");
    }
}

fn read(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    Read::take(file, MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The process of a coturn that runs, if this is its id.
fn coturn_in(text: &str) -> Option<u32> {
    let pid = text.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim_end() == "turnserver").then_some(pid)
}

fn warn(path: &Path, error: &io::Error) {
    let path = path.display();
    tracing::warn!(%error, %path, "pid_file cannot be written: name another one.");
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn text(path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    #[test]
    fn the_file_goes_with_its_process_and_not_with_another_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let own = format!("{}\n", std::process::id());
        std::fs::write(&path, "4194304 left by who was killed\n").unwrap();
        let mut file = PidFile::open(&path).unwrap();
        assert_ne!(
            text(&path).unwrap(),
            own,
            "nothing is written before the node serves"
        );
        file.write();
        assert_eq!(text(&path).unwrap(), own);
        drop(file);
        assert_eq!(text(&path), None);
        // Another process has written its own, into the same file or a new one.
        let mut file = PidFile::open(&path).unwrap();
        file.write();
        std::fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(text(&path).unwrap(), "1\n");
        let mut file = PidFile::open(&path).unwrap();
        file.write();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &own).unwrap();
        drop(file);
        assert_eq!(
            text(&path).unwrap(),
            own,
            "it is not the file that was opened"
        );
        // A start that fails before it serves leaves what was there.
        std::fs::write(&path, "1\n").unwrap();
        drop(PidFile::open(&path).unwrap());
        assert_eq!(text(&path).unwrap(), "1\n");
        std::fs::remove_file(&path).unwrap();
        drop(PidFile::open(&path).unwrap());
        assert_eq!(text(&path), None);
    }

    #[test]
    fn a_file_that_the_process_before_removed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut file = PidFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write();
        assert_eq!(text(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn the_file_of_a_coturn_that_runs_stays_and_others_are_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (path, program) = (folder.path().join("pid"), folder.path().join("turnserver"));
        std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
        // It waits for its input.
        let mut command = Command::new(&program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut coturn = command.spawn().unwrap();
        // Its name is there when it runs, which it does when it answers.
        coturn.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        let output = coturn.stdout.as_mut().unwrap();
        output.read_exact(&mut [0; 1]).unwrap();
        let theirs = format!("{}\n", coturn.id());
        std::fs::write(&path, &theirs).unwrap();
        assert!(PidFile::open(&path).is_none());
        assert_eq!(text(&path).unwrap(), theirs);
        coturn.kill().unwrap();
        coturn.wait().unwrap();
        let ours = format!("{}\n", std::process::id());
        for former in [theirs.as_str(), "", "no number", &ours] {
            std::fs::write(&path, former).unwrap();
            let mut written = PidFile::open(&path).expect("a file of nobody");
            written.write();
            assert_eq!(text(&path).unwrap(), ours);
            drop(written);
            assert!(!path.exists());
        }
    }
}
