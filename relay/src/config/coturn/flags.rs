//! coturn's command line, told from ours. Names that both have mean the same and are ours.

use std::ffi::OsString;

use clap::error::ErrorKind;

use super::given::Given;
use super::options::{self, CoturnOption, Takes};
use crate::config::error::Origin;
use crate::config::keys::{Flag, KEYS, Kind};
use crate::config::misspelt::nearest;

/// Our flags without a value, besides those of settings.
const SWITCHES: &[&str] = &[
    "accept-open-peers",
    "check-config",
    "gateway",
    "help",
    "upgrade",
    "version",
];

/// A command line in two parts.
#[derive(Debug, Default)]
pub(in crate::config) struct CommandLine {
    /// What is ours, the program's name first.
    pub(in crate::config) ours: Vec<OsString>,
    /// What is coturn's.
    pub(in crate::config) coturns: Vec<Given>,
    /// `-n`: read no file.
    pub(in crate::config) reads_no_file: bool,
}

/// Takes coturn's options out of a command line.
///
/// # Errors
/// An option that lacks its value, and one that neither coturn nor relayd has.
pub(in crate::config) fn split(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<CommandLine, clap::Error> {
    let mut arguments = arguments.into_iter();
    let mut line = CommandLine::default();
    line.ours.extend(arguments.next());
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") => {
                line.ours.push(argument);
                line.ours.extend(arguments.by_ref());
            }
            Some(text) if text.starts_with("--") => {
                let text = text.to_owned();
                line.long(&text, argument, &mut arguments)?;
            }
            Some(text) if text.len() > 1 && text.starts_with('-') => {
                let text = text.to_owned();
                line.letters(&text[1..], &mut arguments)?;
            }
            _ => line.ours.push(argument),
        }
    }
    line.settle_version();
    Ok(line)
}

impl CommandLine {
    /// `--name`, `--name=value` or `--name value`.
    fn long(
        &mut self,
        text: &str,
        argument: OsString,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), clap::Error> {
        let (name, value) = match text[2..].split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (&text[2..], None),
        };
        if let Some(has_value) = our_flag(name) {
            self.ours.push(argument);
            if has_value && value.is_none() {
                self.ours.extend(rest.next());
            }
            return Ok(());
        }
        match options::find(name) {
            Some(option) => self.coturns(option, &format!("--{name}"), value, rest),
            None => match nearest(name, options::all().map(|option| option.name)) {
                Some(option) => Err(unknown(&format!("--{name}"), Some(option))),
                // clap knows more about ours.
                None => {
                    self.ours.push(argument);
                    Ok(())
                }
            },
        }
    }

    /// `-vo`, `-p 3478`, `-p3478`.
    fn letters(
        &mut self,
        letters: &str,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), clap::Error> {
        let mut left = letters.chars();
        while let Some(letter) = left.next() {
            let flag = format!("-{letter}");
            match letter {
                'n' => self.reads_no_file = true,
                'h' => self.ours.push(flag.into()),
                'c' => {
                    let text = left.as_str().trim_start_matches('=');
                    let file = Some(OsString::from(text)).filter(|text| !text.is_empty());
                    self.ours.push(flag.into());
                    self.ours.extend(file.or_else(|| rest.next()));
                    return Ok(());
                }
                _ => {
                    let Some(option) = options::find_short(letter) else {
                        return Err(unknown(&flag, None));
                    };
                    if option.takes == Takes::Value {
                        let text = left.as_str();
                        let value = Some(text.to_owned()).filter(|text| !text.is_empty());
                        return self.coturns(option, &flag, value, rest);
                    }
                    self.coturns(option, &flag, None, rest)?;
                }
            }
        }
        Ok(())
    }

    fn coturns(
        &mut self,
        option: &'static CoturnOption,
        flag: &str,
        value: Option<String>,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), clap::Error> {
        let value = match (option.takes, value) {
            (Takes::Value, None) => {
                let next = rest.next().and_then(|value| value.into_string().ok());
                Some(next.ok_or_else(|| {
                    let text = format!("{flag} ({}) needs a value\n", option.name);
                    clap::Error::raw(ErrorKind::InvalidValue, text)
                })?)
            }
            (_, value) => value,
        };
        self.coturns.push(Given {
            option,
            value,
            origin: Origin::Flag(flag.to_owned()),
        });
        Ok(())
    }

    /// `-V` alone asks for the version, as of most programs; beside other options of coturn's it is what
    /// coturn means by it.
    fn settle_version(&mut self) {
        let is_alone = self.ours.len() == 1 && !self.reads_no_file;
        if let ([given], true) = (self.coturns.as_slice(), is_alone)
            && given.option.name == "Verbose"
            && given.origin == Origin::Flag("-V".to_owned())
        {
            self.coturns.clear();
            self.ours.push("--version".into());
        }
    }
}

/// Whether our flag of that name has a value behind it; `None`: there is none.
fn our_flag(name: &str) -> Option<bool> {
    if SWITCHES.contains(&name) {
        return Some(false);
    }
    if name == "config" {
        return Some(true);
    }
    let mut keys = KEYS.iter().filter(|key| key.flag == Flag::Yes);
    let key = keys.find(|key| key.flag_name() == name)?;
    Some(key.kind != Kind::Boolean)
}

fn unknown(flag: &str, nearest: Option<&str>) -> clap::Error {
    let hint = match nearest {
        Some(option) => format!("did you mean --{option}?"),
        None => "relayd --help lists our flags, relay/COTURN.md coturn's".to_owned(),
    };
    let flag = shared::display_safe(flag);
    let text = format!("{flag} is an option of neither relayd nor coturn; {hint}\n");
    clap::Error::raw(ErrorKind::UnknownArgument, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> (Vec<String>, Vec<String>, bool) {
        let words = std::iter::once("relayd").chain(line.split(' '));
        let line = split(words.map(OsString::from)).unwrap();
        let ours = line.ours.iter().skip(1);
        let ours = ours.map(|word| word.to_string_lossy().into_owned());
        let given = |given: &Given| match &given.value {
            Some(value) => format!("{}={value}", given.option.name),
            None => given.option.name.to_owned(),
        };
        let coturns = line.coturns.iter().map(given);
        (ours.collect(), coturns.collect(), line.reads_no_file)
    }

    #[test]
    fn the_flags_of_guides_are_read() {
        let (ours, coturns, no_file) = parts(
            "-v -r 198.51.100.10 -a -o -c minimal.conf -m4 -fX 192.0.2.1 --log-file stdout --cert=a.pem",
        );
        assert_eq!(ours, ["-c", "minimal.conf"]);
        let expected = [
            "verbose",
            "realm=198.51.100.10",
            "lt-cred-mech",
            "daemon",
            "relay-threads=4",
            "fingerprint",
            "external-ip=192.0.2.1",
            "log-file=stdout",
            "cert=a.pem",
        ];
        assert_eq!(coturns, expected);
        assert!(!no_file);
    }

    #[test]
    fn our_own_flags_stay_ours() {
        let (ours, coturns, no_file) =
            parts("-n --workers 3 --mobility --store-url=sqlite --stale-nonce check-config");
        assert_eq!(
            ours,
            [
                "--workers",
                "3",
                "--mobility",
                "--store-url=sqlite",
                "check-config"
            ]
        );
        assert_eq!(coturns, ["stale-nonce"]);
        assert!(no_file);
        assert_eq!(parts("-V").0, ["--version"]);
        assert_eq!(parts("-V -n").1, ["Verbose"]);
    }

    #[test]
    fn what_is_neither_is_told_with_the_nearest_name() {
        let error = |line: &str| {
            let words = std::iter::once("relayd").chain(line.split(' '));
            split(words.map(OsString::from)).unwrap_err().to_string()
        };
        assert!(error("--listning-port=1").contains("did you mean --listening-port?"));
        assert!(error("-Z").contains("-Z is an option of neither"));
        assert!(error("-r").contains("needs a value"));
    }
}
