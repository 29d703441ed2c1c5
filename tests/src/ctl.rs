//! Running `relayctl` and reading its answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::program::{self, Sinks, finish, ours, spawn};

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// `relayctl` against one node's Unix socket.
#[derive(Clone, Debug)]
pub struct Ctl {
    socket: PathBuf,
}

/// The exit code of an answer without some nodes.
const PARTIAL: i32 = 5;

/// What a command did.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ctl {
    /// Commands against the node whose admin socket this is.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Runs `relayctl` with these arguments.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Answer {
        self.run_with_input(arguments, None)
    }

    /// Runs `relayctl` with these arguments and a line on standard input.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    #[must_use]
    pub fn run_with_input(&self, arguments: &[&str], input: Option<&Path>) -> Answer {
        let mut command = Command::new(ours("relayctl"));
        command
            .arg("--url")
            .arg(format!("unix:{}", self.socket.display()));
        command.args(arguments);
        command.env_remove("RELAYCTL_CONTEXT");
        if let Some(input) = input {
            // A shell's `<`: the child helper gives no input otherwise.
            let mut shell = Command::new("sh");
            shell.args(["-c", "exec \"$@\" <\"$0\""]).arg(input);
            shell.arg(command.get_program()).args(command.get_args());
            command = shell;
        }
        let output = finish(
            "relayctl",
            spawn("this workspace", command, &Sinks::Pipes),
            DEADLINE,
        );
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed, with `-o json`, and parses what it prints. A partial answer
    /// is one: nodes that did not answer are named in it.
    ///
    /// # Panics
    /// When it fails or prints no JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let answer = self.run(&all);
        let done = matches!(answer.code, 0 | PARTIAL);
        assert!(done, "relayctl {all:?}: {}{}", answer.stdout, answer.stderr);
        serde_json::from_str(&answer.stdout)
            .unwrap_or_else(|error| panic!("relayctl {all:?}: {error}: {}", answer.stdout))
    }

    /// The items of a list command.
    ///
    /// # Panics
    /// When it fails or prints neither a list nor a page.
    #[track_caller]
    #[must_use]
    pub fn items(&self, arguments: &[&str]) -> Vec<Value> {
        let value = self.json(arguments);
        let items = value.get("items").unwrap_or(&value);
        items
            .as_array()
            .unwrap_or_else(|| panic!("relayctl {arguments:?}: no list: {value}"))
            .clone()
    }
}

/// The exact text of a program's output, for messages.
#[must_use]
pub fn all_text(output: &std::process::Output) -> String {
    program::text(output)
}
