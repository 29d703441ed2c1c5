//! How the process runs: in the background, as whom, and where its id is written.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::LogOutput;
use super::source::Reader;

/// Facilities of syslog by their names (RFC 5424 §6.2.1).
const FACILITIES: &[(&str, u8)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
/// `daemon`.
const FACILITY: u8 = 3;

/// How the process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Whether it goes to the background once it serves.
    pub detach: bool,
    /// The file with its id while it serves.
    pub pid_file: Option<PathBuf>,
    /// The user that it is once everything is bound; `None`: whoever starts it.
    pub user: Option<String>,
    /// The group then; `None`: that of the user.
    pub group: Option<String>,
}

pub(super) fn resolve(reader: &mut Reader<'_>) -> ProcessConfig {
    ProcessConfig {
        detach: reader.boolean("detach").unwrap_or(false),
        pid_file: reader.text("pid_file").map(|(path, _)| path.into()),
        user: name(reader, "proc_user"),
        group: name(reader, "proc_group"),
    }
}

fn name(reader: &mut Reader<'_>, key: &str) -> Option<String> {
    let (name, origin) = reader.text(key)?;
    if name.is_empty() || name.contains(|c: char| c.is_control() || c == ':') {
        reader.error(
            &origin,
            key,
            "is no name",
            "write a name out of /etc/passwd",
        );
    }
    Some(name)
}

/// The facility of lines to syslog; coturn's names have `LOG_` in front.
pub(super) fn syslog_facility(reader: &mut Reader<'_>) -> u8 {
    const KEY: &str = "log.syslog_facility";
    let Some((text, origin)) = reader.text(KEY) else {
        return FACILITY;
    };
    let name = text.to_ascii_lowercase();
    let name = name.strip_prefix("log_").unwrap_or(&name);
    match FACILITIES.iter().find(|(known, _)| *known == name) {
        Some((_, facility)) => *facility,
        None => {
            let remedy = "write daemon, user, auth, local0 to local7 or another one of syslog";
            reader.error(&origin, KEY, "is no facility", remedy);
            FACILITY
        }
    }
}

/// The name of a facility.
pub(super) fn facility_name(facility: u8) -> &'static str {
    let known = FACILITIES.iter().find(|(_, number)| *number == facility);
    known.map_or("daemon", |(name, _)| name)
}

/// The value of a setting, in one spelling however it was written.
pub(super) fn view(process: &ProcessConfig, key: &str) -> Option<Value> {
    Some(match key {
        "detach" => json!(process.detach),
        "pid_file" => json!(process.pid_file.as_deref().map(Path::to_string_lossy)),
        "proc_user" => json!(process.user),
        "proc_group" => json!(process.group),
        _ => return None,
    })
}

/// Where lines of the log go.
pub(super) fn log_output(reader: &mut Reader<'_>, state_dir: &Path) -> LogOutput {
    match reader.text("log.output") {
        // Behind the terminal's back nobody reads what goes there.
        None if reader.boolean("detach") == Some(true) => {
            LogOutput::File(state_dir.join("relayd.log"))
        }
        None => LogOutput::Stderr,
        Some((text, _)) if text == "stderr" => LogOutput::Stderr,
        Some((text, _)) if text == "stdout" && reader.boolean("detach") == Some(true) => {
            let file = state_dir.join("relayd.log");
            reader.warnings.push(format!(
                "log.output: there is no stdout in the background: lines go to {}",
                file.display()
            ));
            LogOutput::File(file)
        }
        Some((text, _)) if text == "stdout" => LogOutput::Stdout,
        Some((text, _)) if text == "syslog" => LogOutput::Syslog,
        Some((text, _)) => LogOutput::File(text.into()),
    }
}
