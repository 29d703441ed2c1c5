//! A Unix socket of another machine, forwarded by the system's `ssh`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::{ClientError, ClientResult, SshTarget};

/// How long ssh may take to connect when nobody can be asked anything.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);
/// How long it may take when a person may have to type a passphrase.
const PROMPT_DEADLINE: Duration = Duration::from_secs(120);
/// How often the forwarded socket is looked for.
const POLL: Duration = Duration::from_millis(20);
/// How much of ssh's complaint is kept.
const MAX_COMPLAINT: usize = 2000;

/// Whether ssh may ask a person for a passphrase or a host key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompting {
    /// Yes: a person sits there and the terminal is in its normal state.
    Allowed,
    /// No: scripts, and while the console owns the terminal.
    Never,
}

/// A running `ssh -L`. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    target: SshTarget,
    /// Only this user may enter it: whoever reaches the socket is admin of the node.
    directory: tempfile::TempDir,
    ssh: Option<Child>,
}

impl Tunnel {
    /// A tunnel that is not open yet.
    pub(super) fn new(target: SshTarget) -> ClientResult<Self> {
        let directory = tempfile::Builder::new()
            .prefix("relayctl-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .map_err(|e| unreachable(&target, format!("no directory for the tunnel: {e}")))?;
        Ok(Self {
            target,
            directory,
            ssh: None,
        })
    }

    /// The local end.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    /// Whether ssh runs and has connected.
    pub(super) fn is_open(&mut self) -> bool {
        let ssh = self.ssh.as_mut();
        ssh.is_some_and(|ssh| matches!(ssh.try_wait(), Ok(None)))
    }

    /// Starts ssh unless it runs, and waits for the local end.
    pub(super) async fn ensure_open(&mut self, prompting: Prompting) -> ClientResult<()> {
        if self.is_open() {
            return Ok(());
        }
        self.ssh = None;
        let socket = self.socket();
        // Left by an ssh that was killed; it would refuse to bind.
        let _ = std::fs::remove_file(&socket);
        let mut ssh = command(&self.target, &socket, prompting)
            .spawn()
            .map_err(|e| unreachable(&self.target, format!("cannot run ssh: {e}")))?;
        let deadline = Instant::now()
            + match prompting {
                Prompting::Allowed => PROMPT_DEADLINE,
                Prompting::Never => OPEN_DEADLINE,
            };
        while !socket.exists() {
            if let Ok(Some(_)) = ssh.try_wait() {
                return Err(unreachable(&self.target, complaint(&mut ssh).await));
            }
            if Instant::now() >= deadline {
                return Err(unreachable(
                    &self.target,
                    "ssh did not connect in time".to_owned(),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        self.ssh = Some(ssh);
        Ok(())
    }
}

fn unreachable(target: &SshTarget, reason: String) -> ClientError {
    ClientError::Unreachable {
        address: target.to_string(),
        reason,
    }
}

/// What ssh said before it gave up.
async fn complaint(ssh: &mut Child) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = ssh.stderr.take() {
        let _ = stderr
            .take(MAX_COMPLAINT as u64)
            .read_to_end(&mut said)
            .await;
    }
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        return "ssh gave up without a word".to_owned();
    }
    let said = lines.join("; ");
    let said = said.strip_prefix("ssh: ").unwrap_or(&said);
    shared::display_safe(&format!("ssh: {said}")).into_owned()
}

fn command(target: &SshTarget, socket: &Path, prompting: Prompting) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-N", "-T"]);
    // A shared master would outlive us and keep the forwarding.
    for option in [
        "ControlMaster=no",
        "ControlPath=none",
        "ExitOnForwardFailure=yes",
        "StreamLocalBindMask=0177",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
    ] {
        command.args(["-o", option]);
    }
    if prompting == Prompting::Never {
        command.args(["-o", "BatchMode=yes"]);
    }
    if let Some(port) = target.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &target.user {
        command.args(["-l", user]);
    }
    command
        .arg("-L")
        .arg(format!("{}:{}", socket.display(), target.socket.display()));
    command.arg("--").arg(&target.host);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_is_asked_for_a_private_forwarding_and_never_for_a_shared_master() {
        let target = SshTarget {
            user: Some("ops".into()),
            host: "fra1".into(),
            port: Some(2222),
            socket: "/run/relayd/relayd.sock".into(),
        };
        let command = command(&target, Path::new("/tmp/x/s"), Prompting::Never);
        let args: Vec<_> = command
            .as_std()
            .get_args()
            .filter_map(|a| a.to_str())
            .collect();
        let args = args.join(" ");
        assert!(
            args.contains("ControlPath=none") && args.contains("BatchMode=yes"),
            "{args}"
        );
        assert!(args.ends_with("-p 2222 -l ops -L /tmp/x/s:/run/relayd/relayd.sock -- fra1"));
    }

    #[tokio::test]
    async fn a_host_that_does_not_exist_is_unreachable_and_says_why() {
        let target = SshTarget {
            user: None,
            host: "nowhere.invalid".into(),
            port: None,
            socket: "/run/relayd/relayd.sock".into(),
        };
        let mut tunnel = Tunnel::new(target).unwrap();
        let error = tunnel.ensure_open(Prompting::Never).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Unreachable { reason, .. } if reason.contains("ssh")),
            "{error}"
        );
    }
}
