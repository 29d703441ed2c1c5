//! The process as coturn's options want it: background, rights, logs.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kit::client::Login;
use kit::netns::isolated;
use kit::program::{Sinks, ended, spawn};
use kit::wait::wait_until;

use crate::start::{Migrated, lives, pid_in};

const LINES: &str =
    "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nuser=alice:wonderland-wonder\n";
const SOON: Duration = Duration::from_secs(20);
/// Some looks whether the last session is gone.
const STAYS: Duration = Duration::from_secs(2);

fn alice() -> Login {
    Login::new("alice", "wonderland-wonder")
}

#[test]
fn a_daemon_that_cannot_start_says_so_on_the_terminal_and_in_its_status() {
    let taken = Migrated::start(LINES, &["-c", "turnserver.conf"]);
    let text = LINES.replace("192.0.2.30", &taken.ip.to_string());
    let mut second = Migrated::prepare(
        &text,
        &["-o", "-c", "turnserver.conf", "--pid-file=own.pid"],
    );
    second.launch();
    assert_eq!(second.wait_exit(), Some(1));
    let terminal = std::fs::read_to_string(second.file("terminal.log")).unwrap();
    assert!(terminal.contains("cannot listen on"), "{terminal}");
    assert!(!second.file("own.pid").exists());
}

#[test]
fn a_daemon_has_a_session_of_its_own_and_ends_at_a_signal() {
    let mut node = Migrated::start(
        LINES,
        &["-o", "-c", "turnserver.conf", "--pid-file=own.pid"],
    );
    assert_eq!(node.wait_exit(), Some(0));
    let pid = pid_in(&node.file("own.pid")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[3], pid.to_string(), "it leads its session: {stat}");
    let input = std::fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    assert_eq!(input.to_string_lossy(), "/dev/null");
    node.client(&alice()).allocate().unwrap();
    kit::program::terminate(pid);
    wait_until("the daemon to end", SOON, || !lives(pid));
    wait_until("its file to go", SOON, || !node.file("own.pid").exists());
}

#[test]
fn root_gives_its_rights_up_once_everything_is_bound() {
    let text = format!(
        "{LINES}proc-user=nobody\nproc-group=nogroup\nlog-file=/var/tmp/turn.log\npidfile=/var/run/turnserver.pid\n"
    );
    let node = Migrated::start(&text, &["-c", "turnserver.conf"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let ids = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(ids("Uid:").iter().all(|id| id == "65534"), "{status}");
    assert!(ids("Gid:").iter().all(|id| id == "65534"), "{status}");
    for task in std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(
            status.contains("Uid:\t65534\t65534"),
            "a thread kept its rights: {status}"
        );
    }
    node.client(&alice()).allocate().unwrap();
    wait_until("the log to be written as that user", SOON, || {
        node.said().contains("Serving.")
    });
    wait_until("the id in its file", SOON, || {
        pid_in(&node.file("turnserver.pid")) == Some(node.pid())
    });
}

/// A node of nobody's that wrote its id to this file, once it has ended at a signal.
fn ended_as_nobody(file: &str, prepare: impl Fn(&Migrated)) -> (Migrated, PathBuf) {
    let lines = format!(
        "{LINES}proc-user=nobody\nproc-group=nogroup\nlog-file=/var/tmp/turn.log\npidfile=/var/run/{file}\n"
    );
    let mut node = Migrated::prepare(&lines, &["-c", "turnserver.conf"]);
    prepare(&node);
    let path = node.file(file);
    node.launch();
    node.wait_ready();
    let pid = Some(node.pid());
    wait_until("the id in its file", SOON, || pid_in(&path) == pid);
    let about = std::fs::metadata(&path).unwrap();
    assert_eq!((about.uid(), about.mode() & 0o022), (0, 0));
    node.signal("TERM");
    assert_eq!(node.wait_exit(), Some(0), "{}", node.said());
    (node, path)
}

#[test]
fn the_pid_file_is_roots_and_goes_or_is_emptied_at_the_end() {
    let (node, path) = ended_as_nobody("roots.pid", |_| ());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "");
    assert_eq!(node.said().matches("pid_file stays behind").count(), 1);
    let (node, path) = ended_as_nobody("theirs/turn.pid", |node| {
        let give = |path| chown(path, Some(65_534), Some(65_534)).unwrap();
        std::fs::set_permissions(node.file("."), Permissions::from_mode(0o711)).unwrap();
        std::fs::create_dir(node.file("theirs")).unwrap();
        give(node.file("theirs"));
    });
    assert!(!path.exists(), "{}", node.said());
    assert!(!node.said().contains("pid_file"), "{}", node.said());
}

#[test]
fn a_pid_file_that_names_another_process_stays() {
    let lines = format!("{LINES}pidfile=/var/run/turn.pid\n");
    let mut node = Migrated::start(&lines, &["-c", "turnserver.conf"]);
    let path = node.file("turn.pid");
    let pid = Some(node.pid());
    wait_until("the id in its file", SOON, || pid_in(&path) == pid);
    let other = std::process::id();
    std::fs::write(&path, other.to_string()).unwrap();
    node.signal("TERM");
    assert_eq!(node.wait_exit(), Some(0), "{}", node.said());
    assert_eq!(pid_in(&path), Some(other));
}

#[test]
fn after_an_upgrade_the_pid_file_names_the_process_that_serves() {
    let lines = format!("{LINES}pidfile=/var/run/own.pid\n");
    let mut node = Migrated::start(&lines, &["-c", "turnserver.conf"]);
    let path = node.file("own.pid");
    let pid = Some(node.pid());
    wait_until("the id in its file", SOON, || pid_in(&path) == pid);
    let mut command = node.command();
    command.arg("--upgrade");
    let sinks = Sinks::File(&node.file("terminal.log"));
    let mut heir = spawn("this workspace", command, &sinks);
    let is_written = |path: &Path| pid_in(path) == Some(heir.id());
    wait_until("the id of the next process", SOON, || is_written(&path));
    assert_eq!(node.wait_exit(), Some(0), "{}", node.said());
    assert!(is_written(&path), "the end of the first took it along");
    node.client(&alice()).allocate().unwrap();
    kit::program::signal(&heir, "TERM");
    assert!(ended(&mut heir, SOON).is_some_and(|status| status.success()));
    assert!(!path.exists());
}

#[test]
fn the_pid_file_of_root_names_the_process_that_an_upgrade_of_nobodys_started() {
    let lines = format!(
        "{LINES}proc-user=nobody\nproc-group=nogroup\nlog-file=/var/tmp/turn.log\n\
         userdb=/var/db/state/turndb\npidfile=/var/run/own.pid\n"
    );
    let mut node = Migrated::prepare(&lines, &["-c", "turnserver.conf"]);
    std::fs::set_permissions(node.file("."), Permissions::from_mode(0o711)).unwrap();
    node.launch();
    node.wait_ready();
    let (path, first) = (node.file("own.pid"), node.pid());
    wait_until("the id in its file", SOON, || pid_in(&path) == Some(first));
    for _ in 0..2 {
        let before = pid_in(&path).unwrap();
        let upgrade = ["node", "upgrade", "moved", "--yes", "--reason", "test"];
        let upgraded = node.ctl().run(&upgrade);
        assert_eq!(upgraded.code, 0, "{upgraded:?}\n{}", node.said());
        wait_until("the process before to end", SOON, || !lives(before));
        let heir = pid_in(&path).expect("the file names a process");
        assert!(heir != before && lives(heir), "{}", node.said());
        let about = std::fs::metadata(&path).unwrap();
        assert_eq!((about.uid(), about.mode() & 0o022), (0, 0));
        node.client(&alice()).allocate().unwrap();
    }
    assert!(!node.said().contains("pid_file"), "{}", node.said());
    assert_eq!(node.wait_exit(), Some(0), "{}", node.said());
    let last = pid_in(&path).unwrap();
    kit::program::terminate(last);
    wait_until("the last process to end", SOON, || !lives(last));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn a_file_is_found_where_coturn_looks() {
    for (folder, flags) in [
        ("turnserver", &["-c", "turnserver.conf"][..]),
        ("coturn", &["-v"]),
        ("etc", &["-a"]),
    ] {
        let mut node = Migrated::prepare(LINES, flags);
        std::fs::create_dir(node.file(folder)).unwrap();
        let moved = node.file(folder).join("turnserver.conf");
        std::fs::rename(node.file("turnserver.conf"), moved).unwrap();
        node.launch();
        node.wait_ready();
        node.client(&alice()).allocate().unwrap();
    }
}

/// `/etc` and `/usr/local/etc` of a test's own, empty.
const OWN_ETC: &str = "mount -t tmpfs none /etc; mount -t tmpfs none /usr/local/etc";

#[test]
fn a_file_of_the_system_is_found_where_coturn_looks() {
    let name = "process::a_file_of_the_system_is_found_where_coturn_looks";
    isolated(name, || {
        let mut command = std::process::Command::new("sh");
        let mounted = command.args(["-ec", OWN_ETC]).output().unwrap();
        assert!(mounted.status.success(), "{mounted:?}");
        for folder in ["/etc", "/etc/turnserver", "/etc/coturn", "/usr/local/etc"] {
            let mut node = Migrated::prepare(LINES, &["-a"]);
            let file = PathBuf::from(folder).join("turnserver.conf");
            std::fs::create_dir_all(folder).unwrap();
            std::fs::copy(node.file("turnserver.conf"), &file).unwrap();
            std::fs::remove_file(node.file("turnserver.conf")).unwrap();
            node.launch();
            node.wait_ready();
            node.client(&alice()).allocate().unwrap();
            std::fs::remove_file(&file).unwrap();
        }
    });
}

#[test]
fn the_log_file_is_opened_anew_at_sighup() {
    let text = format!("{LINES}log-file=/var/tmp/turn.log\n");
    let node = Migrated::start(&text, &["-v", "-c", "turnserver.conf"]);
    let (log, moved) = (node.file("turn.log"), node.file("turn.log.1"));
    wait_until("the first lines", SOON, || node.said().contains("Serving."));
    assert!(
        node.said().contains("DEBUG"),
        "-v logs what single clients do: {}",
        node.said()
    );
    std::fs::rename(&log, &moved).unwrap();
    node.signal("HUP");
    wait_until("the new file", SOON, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains("Configuration reloaded.")
    });
}

#[test]
fn a_check_tells_every_message_and_starts_nothing() {
    let text = format!("{LINES}ec-curve-name=P-256\nalternate-server=192.0.2.9\nuser=bob:short\n");
    let node = Migrated::prepare(&text, &["--check-config", "-c", "turnserver.conf"]);
    let (code, said) = node.run_to_end();
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "turnserver.conf:5: ec-curve-name: TLS is rustls",
        "turnserver.conf:6: alternate-server: redirects are kept in the store",
        "turnserver.conf:7: the password of user bob has fewer",
        "the configuration is valid",
    ] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
    assert!(!node.file("state").exists());
}

#[test]
fn a_check_and_a_conversion_make_no_file() {
    let text = format!("{LINES}redis-userdb=\"ip=127.0.0.1 port=1 dbname=0\"\n");
    let checks: [(&[&str], &str); 2] = [
        (
            &["--check-config", "-c", "turnserver.conf"],
            "makes a key of its own at its first start",
        ),
        (
            &["config", "convert", "turnserver.conf"],
            "make one before the start",
        ),
    ];
    for (flags, said) in checks {
        let node = Migrated::prepare(&text, flags);
        let (code, all) = node.run_to_end();
        assert_eq!(code, Some(0), "{all}");
        assert!(all.contains(said), "{all}");
        let left = std::fs::read_dir(node.file(".")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["turnserver.conf"]);
    }
}

#[test]
fn users_of_the_file_change_at_sighup() {
    let node = Migrated::start(LINES, &["-c", "turnserver.conf"]);
    let file = node.file("turnserver.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("wonderland-wonder", "behind-the-looking-glass"),
    )
    .unwrap();
    node.signal("HUP");
    let login = Login::new("alice", "behind-the-looking-glass");
    wait_until("the new password to work", SOON, || {
        node.client(&login).allocate().is_ok()
    });
    assert_eq!(
        node.client(&alice()).allocate().unwrap_err().code(),
        Some(401)
    );
}

#[test]
fn what_is_unknown_starts_nothing_and_gets_the_nearest_name() {
    let text = format!("{LINES}lt-cred-mec\n");
    let node = Migrated::prepare(&text, &["-c", "turnserver.conf"]);
    let (code, said) = node.run_to_end();
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("turnserver.conf:5: lt-cred-mec")
            && said.contains("did you mean lt-cred-mech?"),
        "{said}"
    );
    let node = Migrated::prepare(LINES, &["--lt-cred-mec", "-c", "turnserver.conf"]);
    let (code, said) = node.run_to_end();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("did you mean --lt-cred-mech?"), "{said}");
}

#[test]
fn a_first_user_signal_drains_and_ends_with_the_last_session() {
    let mut node = Migrated::start(LINES, &["-c", "turnserver.conf"]);
    let mut client = node.client(&alice());
    client.allocate().unwrap();
    node.signal("USR1");
    wait_until("new sessions to be refused", SOON, || {
        let mut late = node.client(&alice());
        match late.allocate() {
            Ok(_) => {
                late.refresh(0).unwrap();
                false
            }
            Err(error) => error.code() == Some(508),
        }
    });
    assert!(lives(node.pid()) && client.refresh(600).is_ok());
    // Who undrains it wants it to stay, with or without sessions.
    let undrain = ["node", "undrain", "moved", "--yes", "--reason", "test"];
    let undrained = node.ctl().run(&undrain);
    assert_eq!(
        undrained.code, 0,
        "{}{}",
        undrained.stdout, undrained.stderr
    );
    client.refresh(0).unwrap();
    let stays = Instant::now() + STAYS;
    wait_until("a node that was undrained to stay", SOON, || {
        assert!(lives(node.pid()), "{}", node.said());
        Instant::now() >= stays
    });
    client = node.client(&alice());
    client.allocate().unwrap();
    node.signal("USR1");
    wait_until("the node to be drained again", SOON, || {
        let rows = node.ctl().items(&["node", "list"]);
        rows.iter().any(|row| row["state"] == "draining")
    });
    client.refresh(0).unwrap();
    assert_eq!(node.wait_exit(), Some(0), "{}", node.said());
    node.launch();
    node.wait_ready();
    node.client(&alice()).allocate().unwrap();
}
