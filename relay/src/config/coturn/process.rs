//! The process: logs, background, process id, rights.

use super::translation::Translation;
use crate::config::error::Origin;
use crate::config::file::Value;

/// coturn's words for levels, and ours.
const LEVELS: &[(&str, &str)] = &[
    ("debug", "debug"),
    ("info", "info"),
    ("warning", "warn"),
    ("error", "error"),
];

/// Where coturn writes its process id if nothing is said.
const PID_FILE: &str = "/var/run/turnserver.pid";

pub(super) fn translate(all: &mut Translation<'_>) {
    level(all);
    output(all);
    all.copy_text("syslog-facility", "log.syslog_facility");
    all.copy_switch("daemon", "detach");
    pid_file(all);
    all.copy_text("proc-user", "proc_user");
    all.copy_text("proc-group", "proc_group");
}

/// Scripts that start coturn in the background look for it where it always writes it.
fn pid_file(all: &mut Translation<'_>) {
    let daemon = all.last("daemon").filter(|_| all.is_on("daemon"));
    match (all.last("pidfile"), daemon) {
        (None, Some(daemon)) => {
            all.set("pid_file", &daemon.origin, Value::Text(PID_FILE.to_owned()));
        }
        _ => all.copy_text("pidfile", "pid_file"),
    }
}

fn level(all: &mut Translation<'_>) {
    if let Some((name, origin)) = all.text("log-min-level") {
        let level = LEVELS
            .iter()
            .find(|(theirs, _)| theirs.eq_ignore_ascii_case(name));
        match level {
            Some((_, level)) => all.set("log.level", origin, Value::Text((*level).to_owned())),
            None => {
                let remedy = "write debug, info, warning or error";
                all.refuse_at(origin, "log-min-level", "is no level", remedy);
            }
        }
        return;
    }
    for name in ["verbose", "Verbose"] {
        if let (true, Some(given)) = (all.is_on(name), all.last(name)) {
            all.set("log.level", &given.origin, Value::Text("debug".to_owned()));
        }
    }
}

/// The log of the system wins over a file, as with coturn.
fn output(all: &mut Translation<'_>) {
    let mut output: Option<(&str, &Origin)> = None;
    if let Some((file, origin)) = all.text("log-file") {
        output = Some((if file == "-" { "stdout" } else { file }, origin));
    }
    if let (true, Some(given)) = (all.is_on("syslog"), all.last("syslog")) {
        output = Some(("syslog", &given.origin));
    }
    if let Some((output, origin)) = output {
        all.set("log.output", origin, Value::Text(output.to_owned()));
    }
}
