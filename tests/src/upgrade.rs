//! Processes that take over from those of a [`Node`], and those that they took over from.

use std::process::Child;
use std::time::Duration;

use crate::node::{Node, START, STOP};
use crate::program::{self, ours};
use crate::supervisor::Supervisor;
use crate::wait::wait_until;

impl Node {
    /// Starts another process that takes over from the one that runs, and waits until that one says so.
    /// Answers the one that ran, which keeps what cannot move.
    ///
    /// # Panics
    /// When nothing was taken over; the message has the log.
    #[track_caller]
    pub fn upgrade(&mut self) -> Elder {
        let said = "Another process serves now.";
        let before = self.log().matches(said).count();
        let elder = self.child.take().expect("a running node");
        self.arguments.push("--upgrade".to_owned());
        self.launch();
        self.arguments.pop();
        wait_until("the takeover", START, || {
            let child = self.child.as_mut().expect("launched before");
            let gone = child.try_wait().expect("a child can be waited for");
            assert!(gone.is_none(), "{gone:?}\n{}", self.log());
            self.log().matches(said).count() > before
        });
        Elder(elder)
    }

    /// Starts the process again under a supervisor that kept what it left.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn launch_under(&mut self, supervisor: &Supervisor) {
        let mut command = supervisor.starter();
        command.arg(ours("relayd"));
        command.arg("--config").arg(self.config_path());
        command.env("NOTIFY_SOCKET", supervisor.socket());
        self.child = Some(program::spawn(
            "this workspace",
            command,
            &program::Sinks::File(&self.log_path()),
        ));
    }

    /// Starts another process with the same configuration beside the one that runs.
    ///
    /// # Panics
    /// When there is no binary.
    pub fn launch_beside(&mut self, arguments: &[&str]) -> Elder {
        let own = self.child.take();
        let count = self.arguments.len();
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self.launch();
        self.arguments.truncate(count);
        let other = std::mem::replace(&mut self.child, own);
        Elder(other.expect("launched just now"))
    }

    /// Processes of this node that it has started itself and that run.
    #[must_use]
    pub fn heirs(&self) -> Vec<u32> {
        let log = self.log();
        let started = log
            .lines()
            .filter(|line| line.contains("Starting the process that takes over."));
        let pids = started.filter_map(|line| line.rsplit_once("pid=")?.1.trim().parse().ok());
        let config = self.config_path();
        // One that ended has no command line, also where nobody waits for it.
        let runs = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&*config.to_string_lossy())
        };
        pids.filter(runs).collect()
    }

    /// Stops those, and waits for it.
    ///
    /// # Panics
    /// When one does not end.
    pub fn stop_heirs(&self) {
        for pid in self.heirs() {
            program::terminate(pid);
        }
        wait_until("heirs to end", STOP, || self.heirs().is_empty());
    }
}

/// The process that ran before an upgrade. Dropping it kills it.
#[derive(Debug)]
pub struct Elder(Child);

impl Elder {
    /// Whether it runs.
    ///
    /// # Panics
    /// When it cannot be waited for.
    #[must_use]
    pub fn runs(&mut self) -> bool {
        let gone = self.0.try_wait().expect("a child can be waited for");
        gone.is_none()
    }

    /// Waits for it to end by itself; its exit code.
    #[must_use]
    pub fn ended(&mut self, deadline: Duration) -> Option<i32> {
        program::ended(&mut self.0, deadline)?.code()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Elder {
    fn drop(&mut self) {
        self.kill();
    }
}
