//! The file with the process id, for init scripts.

use std::fs::{File, metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown};

use crate::trusted;

/// The most that is read of one, bytes.
const MAX_BYTES: usize = 64;
/// Everybody reads it, and its owner alone writes it.
const MODE: Mode = Mode::RUSR
    .union(Mode::WUSR)
    .union(Mode::RGRP)
    .union(Mode::ROTH);

/// Holds the id while the node serves; gone with it, unless another process has written its own since.
///
/// It is opened before rights of root are given up and stays root's: whoever serves could else have an init
/// script end any process. A process that takes over gets the descriptor, since it could not open the file.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
    /// It was not there before.
    is_made: bool,
    is_written: bool,
}

impl PidFile {
    /// Opens it. One that cannot be opened is told of, and keeps nobody from serving. That of a coturn that
    /// runs stays: whoever stops coturn would end this node.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let opened = open(path).and_then(|(file, is_made)| {
            check(&file)?;
            let coturn = coturn_in(&read(&file)?);
            if coturn.is_none() && rustix::process::geteuid().is_root() {
                fchown(&file, Some(Uid::ROOT), Some(Gid::ROOT))?;
                fchmod(&file, MODE)?;
            }
            Ok((file, is_made, coturn))
        });
        match opened {
            Ok((file, is_made, None)) => Some(Self {
                path: path.to_owned(),
                file,
                is_made,
                is_written: false,
            }),
            Ok((.., Some(coturn))) => {
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

    /// Goes on with the file that the process before this one had open, if `path` leads there.
    pub(super) fn passed_on(path: &Path, file: OwnedFd) -> Option<Self> {
        let passed_on = Self {
            path: path.to_owned(),
            file: file.into(),
            is_made: false,
            is_written: false,
        };
        passed_on.is_at_path().then_some(passed_on)
    }

    /// The file for the process that takes over.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(super) fn copy(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Writes the id.
    pub(super) fn write(&mut self) {
        let written = self.replace();
        // The process before may have removed the file when it ended.
        let written = written.and_then(|()| match self.is_at_path() {
            false => Self::open(&self.path).map_or(Ok(()), |again| {
                *self = again;
                self.replace()
            }),
            true => Ok(()),
        });
        if let Err(error) = written {
            warn(&self.path, &error);
        }
    }

    /// Without moving in the file, which another process may have by the same descriptor.
    fn replace(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.is_written = true;
        let id = format!("{}\n", std::process::id());
        self.file.write_all_at(id.as_bytes(), 0)
    }

    /// Whether it holds what this process wrote, or nothing in a file that it made.
    fn is_ours(&self) -> io::Result<bool> {
        let text = read(&self.file)?;
        let is_own = self.is_written && text.trim() == std::process::id().to_string();
        Ok(is_own || (self.is_made && text.is_empty()))
    }

    /// Whether the path still leads here; yes where nobody may look.
    fn is_at_path(&self) -> bool {
        match (metadata(&self.path), self.file.metadata()) {
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
        // A link is whoever laid it's, and its target may lie anywhere.
        if self.path.is_symlink() {
            let _ = self.file.set_len(0);
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

/// The file, and whether it was made.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK;
    let make = flags | OFlags::CREATE;
    match trusted::open(path, make | OFlags::EXCL, MODE) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.map(|file| (file, true)),
    }
    match trusted::open(path, flags, Mode::empty()) {
        // A link to what is not there, which root has followed above already.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            trusted::open(path, make, MODE).map(|file| (file, true))
        }
        opened => opened.map(|file| (file, false)),
    }
}

/// Looks that it is a file, and nobody's by another name.
fn check(file: &File) -> io::Result<()> {
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if about.nlink() > 1 {
        let text = "it has another name too (a hard link): remove it";
        return Err(io::Error::other(text));
    }
    Ok(())
}

fn read(file: &File) -> io::Result<String> {
    let mut bytes = [0; MAX_BYTES];
    let size = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..size]).into_owned())
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
    use std::io::{Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
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
    fn of_two_starts_at_once_the_one_that_fails_leaves_the_file_to_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut first = PidFile::open(&path).unwrap();
        drop(PidFile::open(&path).unwrap());
        assert_eq!(text(&path).unwrap(), "");
        first.write();
        assert_eq!(text(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(PidFile::open(&path).unwrap());
        assert!(path.exists(), "the second start wrote nothing");
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_link_leads_to_is_emptied_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let [path, target] = ["pid", "target"].map(|name| folder.path().join(name));
        symlink(&target, &path).unwrap();
        for former in [None, Some("1\n")] {
            if let Some(former) = former {
                std::fs::write(&target, former).unwrap();
            }
            let mut file = PidFile::open(&path).unwrap();
            file.write();
            let own = format!("{}\n", std::process::id());
            assert_eq!(text(&target).unwrap(), own);
            drop(file);
            assert_eq!(text(&target).unwrap(), "");
            assert!(path.is_symlink());
        }
    }

    #[test]
    fn what_is_no_file_of_one_name_is_left_alone_and_others_become_roots() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["pid", "other"].map(|name| folder.path().join(name));
        std::fs::write(&path, "1\n").unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        assert!(PidFile::open(&path).is_none());
        assert_eq!(text(&other).unwrap(), "1\n");
        assert!(PidFile::open(Path::new("/dev/null")).is_none());
        assert!(PidFile::open(folder.path()).is_none());
        std::fs::remove_file(&other).unwrap();
        assert!(
            rustix::process::geteuid().is_root(),
            "only root gives files away: run this test as root"
        );
        std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let _file = PidFile::open(&path).unwrap();
        let about = metadata(&path).unwrap();
        assert_eq!((about.uid(), about.gid()), (0, 0));
        assert_eq!(about.mode() & 0o7777, 0o644);
    }

    #[test]
    fn a_file_that_was_passed_on_goes_with_the_process_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["pid", "other"].map(|name| folder.path().join(name));
        let mut elder = PidFile::open(&path).unwrap();
        elder.write();
        std::fs::write(&other, "1\n").unwrap();
        assert!(PidFile::passed_on(&other, elder.copy().unwrap()).is_none());
        let mut heir = PidFile::passed_on(&path, elder.copy().unwrap()).unwrap();
        heir.write();
        assert_eq!(text(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(heir);
        assert!(!path.exists());
        drop(elder);
        assert_eq!(text(&other).unwrap(), "1\n");
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
        symlink("/bin/cat", &program).unwrap();
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
        let formers = [
            theirs.as_bytes(),
            b"",
            b"no number",
            b"\xff\xfe",
            ours.as_bytes(),
        ];
        for former in formers {
            std::fs::write(&path, former).unwrap();
            let mut written = PidFile::open(&path).expect("a file of nobody");
            written.write();
            assert_eq!(text(&path).unwrap(), ours);
            drop(written);
            assert!(!path.exists());
        }
    }
}
