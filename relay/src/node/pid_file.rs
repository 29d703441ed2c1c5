//! The file with the process id, for init scripts.

use std::path::{Path, PathBuf};

/// There while the node serves; gone with it, unless another process has written its own since.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it. One that cannot be written is told of, and keeps nobody from serving. That of a coturn
    /// that runs stays: whoever stops coturn would end this node.
    pub(super) fn write(path: &Path) -> Option<Self> {
        if let Some(coturn) = coturn_of(path) {
            let path = path.display();
            tracing::warn!(%path, coturn, "pid_file is that of a coturn that runs: name another one.");
            return None;
        }
        match std::fs::write(path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(Self(path.to_owned())),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%error, %path, "pid_file cannot be written: name another one.");
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        if std::fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == own) {
            // One that rights were given up for stays, and is overwritten by the next start.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

/// The process of a coturn that runs and whose file this is.
fn coturn_of(path: &Path) -> Option<u32> {
    let pid = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim_end() == "turnserver").then_some(pid)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_file_of_a_coturn_that_runs_stays_and_others_are_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (file, program) = (folder.path().join("pid"), folder.path().join("turnserver"));
        std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
        // It waits for its input.
        let mut command = Command::new(&program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut coturn = command.spawn().unwrap();
        // Its name is there when it runs, which it does when it answers.
        let mut answer = [0; 1];
        std::io::Write::write_all(coturn.stdin.as_mut().unwrap(), b"x").unwrap();
        std::io::Read::read_exact(coturn.stdout.as_mut().unwrap(), &mut answer).unwrap();
        let text = format!("{}\n", coturn.id());
        std::fs::write(&file, &text).unwrap();
        assert!(PidFile::write(&file).is_none());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        coturn.kill().unwrap();
        coturn.wait().unwrap();
        let ours = format!("{}\n", std::process::id());
        for former in [text.as_str(), "", "no number", &ours] {
            std::fs::write(&file, former).unwrap();
            let written = PidFile::write(&file).expect("a file of nobody");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), ours);
            drop(written);
            assert!(!file.exists());
        }
    }
}
