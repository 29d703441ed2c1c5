//! Options as they were given: the syntax of coturn's file.

use std::fmt;
use std::path::{Path, PathBuf};

use super::options::{self, CoturnOption};
use crate::config::error::{ConfigError, Origin};
use crate::config::keys;
use crate::config::misspelt::nearest;

/// Where coturn looks for a file that is named without its folder, or for `turnserver.conf`.
const FOLDERS: &[&str] = &[
    "",
    "turnserver",
    "coturn",
    "etc",
    "../etc",
    "/etc",
    "/etc/turnserver",
    "/etc/coturn",
    "/usr/local/etc",
    "/usr/local/etc/turnserver",
    "/usr/local/etc/coturn",
];

/// One option, from a line of the file or from the command line.
#[derive(Clone)]
pub(in crate::config) struct Given {
    /// Which.
    pub(super) option: &'static CoturnOption,
    /// What it was given; `None`: nothing behind its name.
    pub(super) value: Option<String>,
    /// Where.
    pub(super) origin: Origin,
}

impl fmt::Debug for Given {
    /// No value: many are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.option.name, self.origin)
    }
}

/// A line that says something: its number from 1, name and value.
struct Line<'a> {
    number: usize,
    name: &'a str,
    value: Option<&'a str>,
}

/// Lines with an option; `#` begins a comment at the beginning of a line only.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let text = text.trim_start_matches('\u{feff}');
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let end = line.find(['=', ' ', '\t']).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let rest = rest.trim();
        let rest = rest.strip_prefix('=').unwrap_or(rest).trim();
        let value = match rest.strip_prefix('"') {
            Some(quoted) => Some(quoted.rsplit_once('"').map_or(quoted, |(text, _)| text)),
            None => Some(rest).filter(|text| !text.is_empty()),
        };
        Some(Line {
            number: index + 1,
            name,
            value,
        })
    })
}

/// Reads the text of coturn's file; unknown names become errors.
pub(super) fn parse(path: &Path, text: &str, errors: &mut Vec<ConfigError>) -> Vec<Given> {
    let mut given = Vec::new();
    for line in lines(text) {
        let origin = Origin::File {
            path: path.to_owned(),
            line: line.number,
        };
        match options::find(line.name) {
            Some(option) => given.push(Given {
                option,
                value: line.value.map(str::to_owned),
                origin,
            }),
            None => errors.push(ConfigError {
                origin,
                key: shared::display_safe(line.name).into_owned(),
                problem: "is no option that coturn ever had".to_owned(),
                remedy: remedy(line.name),
            }),
        }
    }
    given
}

/// What was probably meant by a name that coturn never had.
pub(super) fn remedy(name: &str) -> String {
    match nearest(name, options::all().map(|option| option.name)) {
        Some(option) => format!("did you mean {option}?"),
        None => "remove the line; settings of relayd itself stand in relayd.toml".to_owned(),
    }
}

/// Whether a file is coturn's: by its name, else by what it says. Text that is neither clearly coturn's
/// nor TOML is taken for TOML.
pub(super) fn is_coturns(path: &Path, text: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".toml") {
        return false;
    }
    if name.eq_ignore_ascii_case("turnserver.conf") {
        return true;
    }
    let has_section = text.lines().any(|line| line.trim_start().starts_with('['));
    let is_ours = |line: &Line<'_>| keys::find(line.name).is_some();
    let coturns = lines(text).filter(|line| options::find(line.name).is_some());
    !has_section
        && coturns.filter(|line| !is_ours(line)).count() > lines(text).filter(is_ours).count()
}

/// The file of that name: as it is, or in one of coturn's folders.
pub(super) fn locate(name: &Path) -> Option<PathBuf> {
    if name.is_absolute() {
        return Some(name.to_owned()).filter(|path| path.exists());
    }
    let mut paths = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    paths.find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, Option<String>)> {
        let mut errors = Vec::new();
        let given = parse(Path::new("turnserver.conf"), text, &mut errors);
        assert_eq!(errors, []);
        let pair = |given: Given| (given.option.name.to_owned(), given.value);
        given.into_iter().map(pair).collect()
    }

    #[test]
    fn every_way_to_write_a_line_is_read() {
        let text = "# user=old:one\n  listening-port=3480  \nrealm north.gov\nverbose\n\
                    pidfile=\"/run/turn server.pid\"\nuser = a:b=c\nrealm\t= x\nno-tls=off\n\n";
        let value = |text: &str| Some(text.to_owned());
        let expected = [
            ("listening-port", value("3480")),
            ("realm", value("north.gov")),
            ("verbose", None),
            ("pidfile", value("/run/turn server.pid")),
            ("user", value("a:b=c")),
            ("realm", value("x")),
            ("no-tls", value("off")),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_name_that_coturn_never_had_gets_the_nearest_one() {
        let mut errors = Vec::new();
        parse(
            Path::new("t.conf"),
            "\nlistning-port=1\nzzz=2\n",
            &mut errors,
        );
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(texts[0].starts_with("t.conf:2: listning-port"), "{texts:?}");
        assert!(
            texts[0].contains("did you mean listening-port?"),
            "{texts:?}"
        );
        assert!(texts[1].contains("t.conf:3: zzz"), "{texts:?}");
        assert!(!texts[1].contains("did you mean"), "{texts:?}");
    }

    #[test]
    fn files_are_told_apart_by_name_and_content() {
        let coturns = "listening-port=3478\nuser=a:b\n";
        assert!(is_coturns(Path::new("/etc/minimal.conf"), coturns));
        assert!(is_coturns(Path::new("/etc/turnserver.conf"), ""));
        assert!(!is_coturns(Path::new("/etc/relayd.toml"), coturns));
        let toml = "workers = 2\nmobility = true\n[[realm]]\nname = \"a\"\n";
        assert!(!is_coturns(Path::new("/etc/relayd.conf"), toml));
        assert!(!is_coturns(
            Path::new("/etc/relayd.conf"),
            "mobility = true\n"
        ));
        assert!(!is_coturns(Path::new("/etc/relayd.conf"), ""));
    }
}
