//! Who listens to a Redis as operators' scripts do: `redis-cli psubscribe`.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use crate::program::{Sinks, spawn};
use crate::redis::RedisServer;
use crate::wait::wait_until;

/// What coturn's manual has one subscribe to.
pub const STATISTICS: [&str; 6] = [
    "turn/realm/*/user/*/allocation/*/status",
    "turn/realm/*/user/*/allocation/*/traffic",
    "turn/realm/*/user/*/allocation/*/traffic/peer",
    "turn/realm/*/user/*/allocation/*/total_traffic",
    "turn/realm/*/user/*/allocation/*/total_traffic/peer",
    "turn/user/*/allocation/*",
];

/// A message: its channel and what it says.
pub type Message = (String, String);

/// A running `redis-cli`. Dropping it stops it.
#[derive(Debug)]
pub struct Subscriber {
    child: Child,
    output: PathBuf,
    _folder: tempfile::TempDir,
}

impl Subscriber {
    /// Listens for [`STATISTICS`].
    ///
    /// # Panics
    /// When there is no `redis-cli`, or Redis does not confirm.
    #[must_use]
    pub fn start(redis: &RedisServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let output = folder.path().join("messages");
        let mut command = Command::new("redis-cli");
        command.args(["-p", &redis.port.to_string(), "psubscribe"]);
        command.args(STATISTICS);
        let child = spawn("redis-tools", command, &Sinks::File(&output));
        let subscriber = Self {
            child,
            output,
            _folder: folder,
        };
        wait_until("the subscriptions", Duration::from_secs(10), || {
            let text = subscriber.text();
            text.lines().filter(|line| *line == "psubscribe").count() == STATISTICS.len()
        });
        subscriber
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// All complete messages so far, in their order.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        let text = self.text();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let mut lines = whole.lines();
        let mut messages = Vec::new();
        while let Some(line) = lines.next() {
            if line == "pmessage"
                && let (Some(_), Some(channel), Some(said)) =
                    (lines.next(), lines.next(), lines.next())
            {
                messages.push((channel.to_owned(), said.to_owned()));
            }
        }
        messages
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
