//! Programs: where ours are, how others are run, what they wrote.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::wait::wait_for;

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
/// When it does not end before `deadline`; it is killed then.
#[track_caller]
#[must_use]
pub fn finish(name: &str, mut child: Child, deadline: Duration) -> Output {
    // Pipes are drained beside the wait, or a talkative program would block on a full one.
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let status = ended(&mut child, deadline);
    let join = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
        reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (join(stdout), join(stderr));
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

fn drain(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
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
