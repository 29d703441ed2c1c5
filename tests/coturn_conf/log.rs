//! Where lines of the log go, as coturn's options say it.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use kit::client::Login;
use kit::netns::isolated;
use kit::wait::{wait_for, wait_until};

use crate::start::Migrated;

const LINES: &str =
    "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nuser=alice:wonderland-wonder\n";
const FLAGS: &[&str] = &["-c", "turnserver.conf"];
const SOON: Duration = Duration::from_secs(20);
const NOBODY: Option<u32> = Some(65_534);
const RUN_AS_ROOT: &str = "only root gives files away: run this test as root";

/// Stdout and stderr of a node with these lines, once it has served a client, and the node.
fn outputs(lines: &str) -> (String, String, Migrated) {
    let mut node = Migrated::prepare(&format!("{LINES}{lines}\n"), FLAGS);
    node.launch_apart();
    node.wait_ready();
    let alice = Login::new("alice", "wonderland-wonder");
    node.client(&alice).allocate().unwrap();
    wait_until("the first lines", SOON, || node.said().contains("Serving."));
    let text = |name: &str| std::fs::read_to_string(node.file(name)).unwrap();
    (text("stdout.log"), text("stderr.log"), node)
}

#[test]
fn stdout_and_a_dash_are_standard_output() {
    for name in ["stdout", "-"] {
        let (stdout, stderr, _node) = outputs(&format!("log-file={name}"));
        assert!(stdout.contains("Serving."), "{name}: {stdout}");
        assert_eq!(stderr, "", "{name}");
    }
    for lines in ["", "no-stdout-log"] {
        let (stdout, stderr, _node) = outputs(lines);
        assert!(stderr.contains("Serving."), "{stderr}");
        assert_eq!(stdout, "");
    }
}

#[test]
fn a_log_file_has_its_name_and_nothing_goes_to_the_terminal() {
    for lines in ["", "simple-log\nno-stdout-log"] {
        let (stdout, stderr, node) = outputs(&format!("log-file=/var/tmp/turn.log\n{lines}"));
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
        let log = std::fs::read_to_string(node.file("turn.log")).unwrap();
        assert!(log.contains("Serving."), "{log}");
        let folder = std::fs::read_dir(node.file(".")).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let logs: Vec<_> = names.filter(|name| name.starts_with("turn")).collect();
        let with_pid = |name: &String| name.contains(&node.pid().to_string());
        assert!(!logs.iter().any(with_pid), "{logs:?}");
    }
}

#[test]
fn verbose_logs_what_single_clients_do() {
    let (_, quiet, _node) = outputs("");
    assert!(!quiet.contains("DEBUG"), "{quiet}");
    for lines in ["verbose", "Verbose"] {
        let (_, _, node) = outputs(lines);
        wait_until("a line about a client", SOON, || {
            node.said().contains("DEBUG")
        });
    }
}

#[test]
fn links_that_others_laid_are_not_followed_and_roots_are() {
    let line = "log-file=/var/tmp/theirs/turn.log";
    let node = Migrated::prepare(&format!("{LINES}{line}\n"), FLAGS);
    std::fs::create_dir(node.file("theirs")).unwrap();
    std::fs::write(node.file("victim"), "untouched").unwrap();
    symlink(node.file("victim"), node.file("theirs/turn.log")).unwrap();
    lchown(node.file("theirs"), NOBODY, None).expect(RUN_AS_ROOT);
    let (code, said) = node.run_to_end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("turn.log is a symbolic link") && said.contains("uid 65534"),
        "{said}"
    );
    let victim = std::fs::read_to_string(node.file("victim")).unwrap();
    assert_eq!(victim, "untouched");
    // The same links, where all is root's: to a file, and to standard output.
    let mut node = Migrated::prepare(&format!("{LINES}log-file=/var/tmp/link\n"), FLAGS);
    symlink("turn.log", node.file("link")).unwrap();
    node.launch();
    node.wait_ready();
    wait_for_line(&node, "turn.log");
    let mut node = Migrated::prepare(&format!("{LINES}log-file=/var/tmp/link\n"), FLAGS);
    symlink("/dev/stdout", node.file("link")).unwrap();
    node.launch_apart();
    node.wait_ready();
    wait_for_line(&node, "stdout.log");
}

/// The writer of the log is a thread of its own.
fn wait_for_line(node: &Migrated, name: &str) {
    wait_until("the first lines", SOON, || {
        let text = std::fs::read_to_string(node.file(name));
        text.is_ok_and(|text| text.contains("Serving."))
    });
}

#[test]
fn a_log_goes_to_an_output_of_another_process_and_to_a_pipe_without_a_reader() {
    let node = Migrated::prepare(LINES, FLAGS);
    let output = std::fs::File::create(node.file("output.log")).unwrap();
    // It waits for its input, as the first process of a container waits for the others.
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(output);
    let mut first = command.spawn().unwrap();
    let line = format!("log-file=/proc/{}/fd/1\n", first.id());
    let mut other = Migrated::prepare(&format!("{LINES}{line}"), FLAGS);
    other.launch();
    other.wait_ready();
    wait_for_line(&node, "output.log");
    drop(first.stdin.take());
    first.wait().unwrap();
    // Its reader comes late, and it is reopened as another user.
    let lines = "log-file=/var/tmp/pipe\nproc-user=nobody\nproc-group=nogroup\n";
    let mut node = Migrated::prepare(&format!("{LINES}{lines}"), FLAGS);
    std::fs::set_permissions(node.file("."), Permissions::from_mode(0o711)).unwrap();
    let made = Command::new("mkfifo").arg(node.file("pipe")).status();
    assert!(made.unwrap().success());
    node.launch();
    node.wait_ready();
    let pipe = std::fs::File::open(node.file("pipe")).unwrap();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let heard = |text: &str| {
        wait_until(text, SOON, || {
            lines.try_iter().any(|line| line.contains(text))
        });
    };
    heard("Serving.");
    for _ in 0..2 {
        node.signal("HUP");
        heard("Configuration reloaded.");
    }
    assert!(!node.said().contains("ERROR"), "{}", node.said());
}

#[test]
fn links_in_the_state_directory_that_others_laid_keep_root_from_starting() {
    let node = Migrated::prepare(LINES, FLAGS);
    std::fs::create_dir(node.file("state")).unwrap();
    symlink(node.file("victim"), node.file("state/node-id")).unwrap();
    lchown(node.file("state/node-id"), NOBODY, None).expect(RUN_AS_ROOT);
    let mut command = node.command();
    command.env_remove("RELAYD_NODE_ID");
    let child = kit::program::spawn("this workspace", command, &kit::program::Sinks::Pipes);
    let output = kit::program::finish("relayd", child, SOON);
    let said = kit::program::text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("node-id is a symbolic link"), "{said}");
    assert!(!node.file("victim").exists());
}

/// A `/dev` with the devices that programs need, and room for a socket.
const OWN_DEV: &str = "dev=/run/dev; mkdir $dev; mount -t tmpfs none $dev; \
                       for f in null zero random urandom; do touch $dev/$f; mount --bind /dev/$f $dev/$f; done; \
                       ln -s /proc/self/fd $dev/fd; mount --rbind $dev /dev";

#[test]
fn the_systems_log_hears_its_facility_whichever_option_names_it() {
    isolated(
        "log::the_systems_log_hears_its_facility_whichever_option_names_it",
        || {
            let mounted = Command::new("sh").args(["-ec", OWN_DEV]).output().unwrap();
            assert!(mounted.status.success(), "{mounted:?}");
            let system = UnixDatagram::bind("/dev/log").unwrap();
            let pause = Some(Duration::from_millis(500));
            system.set_read_timeout(pause).unwrap();
            // local3 is 19, daemon is 3, an information is 6.
            for (lines, priority) in [
                ("syslog\nsyslog-facility=LOG_LOCAL3", 19 * 8 + 6),
                ("log-file=syslog", 3 * 8 + 6),
                ("syslog\nlog-file=/var/tmp/turn.log", 3 * 8 + 6),
            ] {
                let node = Migrated::start(&format!("{LINES}{lines}\n"), FLAGS);
                let head = format!("<{priority}>relayd[{}]: ", node.pid());
                let mut buffer = [0; 4096];
                wait_for("the line in the system's log", SOON, || {
                    let size = system.recv(&mut buffer).ok()?;
                    let line = String::from_utf8_lossy(&buffer[..size]);
                    (line.starts_with(&head) && line.contains("Serving.")).then_some(())
                });
                assert_eq!(node.said(), "", "{lines}");
            }
        },
    );
}
