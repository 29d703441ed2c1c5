//! A terminal that a test can look at and type into: `tmux` (Debian package `tmux`).

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::wait::wait_for;

/// Terminals started by this process.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A detached terminal with one program in it; gone with the value.
#[derive(Debug)]
pub struct Terminal {
    server: String,
}

impl Terminal {
    /// Runs `command` (one shell line) in a terminal of this size.
    ///
    /// # Panics
    /// When `tmux` is not installed or does not start.
    #[must_use]
    pub fn start(width: u16, height: u16, command: &str) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            server: format!("relayd-{}-{number}", std::process::id()),
        };
        let (width, height) = (width.to_string(), height.to_string());
        terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, command]);
        terminal
    }

    /// What the screen shows.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Types keys, in tmux's names (`Enter`, `C-c`).
    pub fn keys(&self, keys: &[&str]) {
        let mut arguments = vec!["send-keys"];
        arguments.extend(keys);
        self.tmux(&arguments);
    }

    /// Waits until the screen satisfies `condition`; the screen.
    ///
    /// # Panics
    /// When it does not before `deadline`; the message has the last screen.
    #[track_caller]
    pub fn wait_screen(
        &self,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&str) -> bool,
    ) -> String {
        let end = std::time::Instant::now() + deadline;
        wait_for(what, deadline * 2, || {
            let screen = self.screen();
            let found = condition(&screen);
            let late = std::time::Instant::now() > end;
            assert!(
                found || !late,
                "waited in vain for {what}; the screen:\n{screen}"
            );
            found.then_some(screen)
        })
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.server, "-f", "/dev/null"])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .output()
            .expect("tmux runs (Debian package: tmux)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
