//! What the console leaves behind in a terminal, and that it goes when its terminal does.
//!
//! No node runs here: the console starts disconnected and stays. `script` (Debian package
//! `bsdutils`) gives pseudo-terminals whose far end can be killed, `tmux` one with a shell in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kit::program::ours;
use kit::pty::PtyCommand;
use kit::tmux::Terminal;
use kit::wait::{wait_for, wait_until};

/// More than a busy machine needs to start a program or to paint.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a console may outlive its terminal.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// A console inside `script`: everything that it writes lands in a file.
struct Recorded {
    script: Child,
    written: PathBuf,
    pid: u32,
    _folder: tempfile::TempDir,
}

impl Recorded {
    /// Starts it, with `before` run by the shell in front of it, and waits for its first frame.
    fn start(before: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (written, pid_file) = (folder.path().join("written"), folder.path().join("pid"));
        let console = ours("relayctl");
        let socket = folder.path().join("no-node.sock");
        let line = format!(
            "{before} stty cols 80 rows 24; echo $$ > {}; exec {} --context unix:{}",
            pid_file.display(),
            console.display(),
            socket.display()
        );
        let script = Command::new("script")
            .args(["-q", "-f", "-e", "-c", &line])
            .arg(&written)
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("script runs (Debian package: bsdutils)");
        let pid = wait_for("the console's process id", PATIENCE, || {
            fs::read_to_string(&pid_file).ok()?.trim().parse().ok()
        });
        let recorded = Self {
            script,
            written,
            pid,
            _folder: folder,
        };
        recorded.wait_written("DISCONNECTED");
        recorded
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.written).unwrap_or_default()).into_owned()
    }

    /// What was written in all: `script` may still hold some when the console has gone.
    fn all_written(&mut self) -> String {
        let ended = kit::program::ended(&mut self.script, PATIENCE);
        assert!(ended.is_some(), "script outlives its program");
        self.written()
    }

    fn wait_written(&self, text: &str) {
        wait_until(text, PATIENCE, || self.written().contains(text));
    }

    fn keys(&mut self, keys: &str) {
        use std::io::Write;
        let stdin = self.script.stdin.as_mut().expect("standard input is piped");
        stdin.write_all(keys.as_bytes()).expect("script reads");
        stdin.flush().expect("script reads");
    }

    fn is_gone(&self) -> bool {
        // A zombie has ended too: whoever should collect it was killed.
        let status = fs::read_to_string(Path::new("/proc").join(self.pid.to_string()).join("stat"));
        status.map_or(true, |text| {
            text.rsplit(')')
                .next()
                .unwrap_or("")
                .trim()
                .starts_with('Z')
        })
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// Every mode that was switched on has been switched off.
fn assert_restored(written: &str) {
    for mode in ["?1049", "?2004", "?2026"] {
        let on = written.rfind(&format!("\u{1b}[{mode}h"));
        let off = written.rfind(&format!("\u{1b}[{mode}l"));
        assert!(on.is_some() && off > on, "{mode} stays on");
    }
    assert!(
        written.rfind("\u{1b}[?25h") > written.rfind("\u{1b}[?25l"),
        "no cursor"
    );
}

#[test]
fn quitting_restores_every_mode() {
    let mut console = Recorded::start("");
    console.keys("q");
    wait_until("the console to end", PATIENCE, || console.is_gone());
    assert_restored(&console.all_written());
}

#[test]
fn signals_that_end_it_restore_every_mode() {
    for name in ["-TERM", "-INT", "-HUP"] {
        let mut console = Recorded::start("");
        signal(console.pid, name);
        wait_until("the console to end", PATIENCE, || console.is_gone());
        assert_restored(&console.all_written());
    }
}

/// Sends a signal, in `kill`'s words.
fn signal(pid: u32, name: &str) {
    let mut kill = Command::new("kill");
    let sent = kill.args([name, &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success(), "{name} {pid}");
}

/// A folder with this configuration file, and the shell's words that make the console read it.
fn configured(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("relayctl.toml");
    fs::write(&path, text).expect("the file is written");
    let export = format!("export RELAYCTL_CONFIG={};", path.display());
    (folder, export)
}

#[test]
fn stopped_by_others_it_sets_every_mode_once_more() {
    // `script` stops itself with its program: this takes a terminal of our own.
    let command = PtyCommand::new(&ours("relayctl")).args(&["--context", "unix:/nowhere/s"]);
    let home = tempfile::tempdir().expect("a folder");
    let console = crate::live::at_home(command, home.path()).start();
    console.wait_text("DISCONNECTED");
    let written = || String::from_utf8_lossy(&console.written()).into_owned();
    let pastes = || written().matches("\u{1b}[?2004h").count();
    let before = pastes();
    signal(console.pid(), "-STOP");
    signal(console.pid(), "-CONT");
    wait_until("the modes once more", PATIENCE, || pastes() > before);
    let modes = written().rfind("\u{1b}[?2004h").expect("just seen");
    wait_until("a whole frame", PATIENCE, || {
        written()[modes..].contains("DISCONNECTED")
    });
}

#[test]
fn the_mouse_is_asked_for_clicks_only_and_let_go() {
    let mut console = Recorded::start("");
    assert!(!console.written().contains("\u{1b}[?1000h"));
    console.keys(":set mouse on\r");
    console.wait_written("\u{1b}[?1000h\u{1b}[?1006h");
    console.keys(":set mouse off\r");
    console.wait_written("\u{1b}[?1006l\u{1b}[?1000l");
    let (_folder, export) = configured("[console]\nmouse = true\n");
    let mut console = Recorded::start(&export);
    console.wait_written("\u{1b}[?1000h\u{1b}[?1006h");
    console.keys("q");
    wait_until("the console to end", PATIENCE, || console.is_gone());
    let written = console.all_written();
    assert_restored(&written);
    assert!(written.rfind("\u{1b}[?1000l") > written.rfind("\u{1b}[?1000h"));
    assert!(!written.contains("?1003") && !written.contains("?1002"));
}

#[test]
fn keys_and_themes_of_the_file_are_in_force() {
    let text = "[keys]\nhelp = \"f1\"\nquit = \"x\"\n\
                [console]\ntheme = \"light\"\ncolours = \"true\"\n";
    let (_folder, export) = configured(text);
    let mut console = Recorded::start(&export);
    console.wait_written("<f1>");
    console.wait_written("48;2;251;250;247");
    console.keys("x");
    wait_until("the console to end", PATIENCE, || console.is_gone());
}

#[test]
fn a_file_that_is_not_understood_opens_no_console() {
    let (folder, _) = configured("[keys]\n\nkill = \"k\"\n");
    let file = folder.path().join("relayctl.toml");
    let (console, file) = (ours("relayctl"), file.display().to_string());
    let line = format!("{} --config {file}; echo ended-$?; cat", console.display());
    let terminal = Terminal::start(120, 24, &line);
    let screen = terminal.wait_screen("the end", PATIENCE, |s| s.contains("ended-"));
    assert!(screen.contains("ended-2"), "{screen}");
    assert!(screen.contains("line 3: [keys] kill:"), "{screen}");
}

#[test]
fn a_dead_terminal_ends_it_within_two_seconds() {
    for before in ["", "trap '' HUP;"] {
        let mut console = Recorded::start(before);
        console.script.kill().unwrap();
        wait_until("the console to end with its terminal", GONE_WITHIN, || {
            console.is_gone()
        });
    }
}

#[test]
fn without_colours_reverse_video_survives() {
    let mut console = Recorded::start("export NO_COLOR=1;");
    console.keys(":node");
    console.wait_written("node");
    wait_until("an inverted cell", PATIENCE, || {
        console.written().contains("\u{1b}[7m")
    });
    let written = console.written();
    assert!(
        !written.contains("\u{1b}[m"),
        "an empty SGR resets everything"
    );
    let colours = ["[31m", "[32m", "[33m", "[36m", "[38;5"];
    assert!(!colours.iter().any(|c| written.contains(c)));
}

#[test]
fn a_thousand_keys_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("no-node.sock");
    let line = format!(
        "{} --context unix:{}",
        ours("relayctl").display(),
        socket.display()
    );
    let terminal = Terminal::start(80, 24, &line);
    terminal.wait_screen("the console", PATIENCE, |s| {
        s.contains("nothing is known yet")
    });
    let digits: String = (0..1_000_u32)
        .map(|i| char::from(b'0' + (i % 10) as u8))
        .collect();
    terminal.keys(&["3", "/", "user=", &digits]);
    terminal.wait_screen("the end of the line", PATIENCE, |s| {
        s.contains(&digits[960..])
    });
    // As many keys back: one lost on either way would show.
    terminal.keys(&["-N", "1000", "BSpace"]);
    let begins = |line: &str| line.trim() == "/ user=";
    terminal.wait_screen("the begin of the line", PATIENCE, |s| s.lines().any(begins));
}

#[test]
fn suspending_hands_the_terminal_to_the_shell_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::start(80, 24, "bash --norc --noprofile");
    let socket = folder.path().join("no-node.sock");
    let line = format!(
        "{} --context unix:{}",
        ours("relayctl").display(),
        socket.display()
    );
    terminal.keys(&[&line, "Enter"]);
    terminal.wait_screen("the console", PATIENCE, |s| {
        s.contains("nothing is known yet")
    });
    terminal.keys(&["C-z"]);
    terminal.wait_screen("the shell", PATIENCE, |s| s.contains("Stopped"));
    terminal.keys(&["echo back-$((40+2))", "Enter"]);
    terminal.wait_screen("an answer of the shell", PATIENCE, |s| {
        s.contains("back-42")
    });
    terminal.keys(&["fg", "Enter"]);
    terminal.wait_screen("the console", PATIENCE, |s| {
        s.contains("nothing is known yet")
    });
    terminal.keys(&["3"]);
    terminal.wait_screen("a key to arrive", PATIENCE, |s| {
        s.contains("Pulse > Sessions")
    });
}
