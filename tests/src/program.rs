//! Programs: where ours are, how others are run, what they wrote.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpgid, kill_process_group};

use crate::wait::wait_for;

/// How long what a program wrote is read for when others that it started still hold its pipes.
const LEFT_BEHIND: Duration = Duration::from_secs(10);

/// The path of one of our programs, all built at most once per process.
///
/// # Panics
/// When cargo cannot build them.
#[must_use]
pub fn ours(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).join(name)
}

/// The Python that `tests/run.sh` furnished with the packages of `tests/interop/requirements.txt`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn python() -> PathBuf {
    let target = ours("relayd");
    let target = target.ancestors().nth(2).expect("a folder of builds");
    let python = target.join("python/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run tests/run.sh once",
        python.display()
    );
    python
}

/// Builds all binaries beside the running one and answers their folder.
fn build() -> PathBuf {
    let exe = std::env::current_exe().expect("the running program has a path");
    let mut folder = exe.parent().expect("a program lies in a folder").to_owned();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The whole workspace, as `cargo test` does: another selection could mean other features and a
    // rebuild of every dependency.
    command.args(["build", "--quiet", "--workspace", "--bins"]);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    if folder.ends_with("release") {
        command.arg("--release");
    }
    if let Some(target) = folder.parent() {
        command.env("CARGO_TARGET_DIR", target);
    }
    let built = command.output().expect("cargo runs");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    folder
}

/// Runs a program of Debian's `package` to its end, for at most `deadline`.
///
/// # Panics
/// When it is not installed (the message names the package) or does not end.
#[track_caller]
pub fn run(package: &str, program: &str, arguments: &[&str], deadline: Duration) -> Output {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(program, spawn(package, command, &Sinks::pipes()), deadline)
}

/// Where a program writes to.
#[derive(Debug)]
pub enum Sinks<'a> {
    /// Into memory.
    Pipes,
    /// Both outputs into this file.
    File(&'a Path),
}

impl Sinks<'_> {
    fn pipes() -> Self {
        Self::Pipes
    }
}

/// Starts `command` without input.
///
/// # Panics
/// When it does not start; the message names the package to install.
#[must_use]
pub fn spawn(package: &str, mut command: Command, sinks: &Sinks<'_>) -> Child {
    command.stdin(Stdio::null());
    match sinks {
        Sinks::Pipes => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        Sinks::File(path) => {
            let file = File::options()
                .create(true)
                .append(true)
                .open(path)
                .expect("a log file");
            let other = file.try_clone().expect("a second handle");
            command.stdout(file).stderr(other)
        }
    };
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}; it comes with `{package}`"))
}

/// Waits for `child` and reads what it wrote.
///
/// # Panics
/// When it does not end before `deadline`; it is killed then, with its process group if it leads one.
#[track_caller]
#[must_use]
pub fn finish(name: &str, mut child: Child, deadline: Duration) -> Output {
    // Pipes are drained beside the wait, or a talkative program would block on a full one.
    let stdout = child.stdout.take().map(Drain::start);
    let stderr = child.stderr.take().map(Drain::start);
    let status = ended(&mut child, deadline);
    if status.is_none() {
        if leads_a_group(&child) {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    let read = |drain: Option<Drain>| drain.map(Drain::finish).unwrap_or_default();
    let (stdout, stderr) = (read(stdout), read(stderr));
    let Some(status) = status else {
        let wrote = String::from_utf8_lossy(&stdout);
        panic!("{name} did not end within {deadline:?}; it wrote: {wrote}");
    };
    Output {
        status,
        stdout,
        stderr,
    }
}

/// Whether it was started as the first of a process group, whose others end with it.
fn leads_a_group(child: &Child) -> bool {
    let pid = Pid::from_child(child);
    getpgid(Some(pid)).is_ok_and(|group| group == pid)
}

/// Reads a pipe beside everything else.
struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Drain {
    fn start(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                let mut kept = kept.lock().expect("nobody panics with it");
                kept.extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader }
    }

    /// What was read: all of it, unless a process that the program left behind holds the pipe.
    fn finish(self) -> Vec<u8> {
        let end = Instant::now() + LEFT_BEHIND;
        wait_for("the end of a pipe", LEFT_BEHIND * 2, || {
            let is_over = self.reader.is_finished() || Instant::now() > end;
            is_over.then_some(())
        });
        std::mem::take(&mut *self.bytes.lock().expect("nobody panics with it"))
    }
}

/// Waits for `child` until `deadline`.
pub fn ended(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + deadline;
    wait_for(
        "a process",
        deadline + Duration::from_secs(5),
        || match child.try_wait() {
            Ok(Some(status)) => Some(Some(status)),
            _ if Instant::now() > end => Some(None),
            _ => None,
        },
    )
}

/// Sends `signal` (as in `TERM`) to a process that this program started.
///
/// # Panics
/// When `kill` is not installed.
pub fn signal(child: &Child, signal: &str) {
    send(child.id(), signal);
}

/// Tells a process to stop that one of those has started.
///
/// # Panics
/// When `kill` is not installed.
pub fn terminate(pid: u32) {
    send(pid, "TERM");
}

fn send(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok(), "kill: it comes with `procps`");
}

/// Everything a finished program wrote, standard output first.
#[must_use]
pub fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_program_whose_children_keep_its_pipes_ends_at_the_deadline_with_them() {
        let begun = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 600 & sleep 600"]);
        command.process_group(0);
        let child = spawn("dash", command, &Sinks::Pipes);
        let group = Pid::from_child(&child);
        let said = catch_unwind(|| finish("a script", child, Duration::from_secs(1)));
        let said = *said.unwrap_err().downcast::<String>().unwrap();
        assert!(said.ends_with("it wrote: begun\n"), "{said}");
        assert!(begun.elapsed() < LEFT_BEHIND, "{:?}", begun.elapsed());
        wait_for("the end of the group", LEFT_BEHIND, || {
            rustix::process::test_kill_process_group(group)
                .is_err()
                .then_some(())
        });
    }
}
