//! What `turnadmin` is called with, read as `getopt_long` reads it: flags in one word, values attached
//! or in the next word, long names in full or as far as they are unique.

use shared::{Realm, Secret};

use crate::cli::exit::Failure;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// `-h`
    Help,
    /// `-k`
    Key,
    /// `-P`
    EncryptedPassword,
    /// `-a`
    AddUser,
    /// `-d`
    DeleteUser,
    /// `-l`
    ListUsers,
    /// `-s`
    SetSecret(Secret<String>),
    /// `-S`
    ShowSecrets,
    /// `-X`
    DeleteSecret(Secret<String>),
    /// `--delete-all-secrets`
    DeleteAllSecrets,
    /// `-O`
    AddOrigin,
    /// `-R`
    DeleteOrigin,
    /// `-I`
    ListOrigins,
    /// `-g`
    SetOptions,
    /// `-G`
    ListOptions,
    /// `-A`, `-D` and `-L`: accounts of coturn's web pages.
    WebAdmins,
    /// `-E`, `-x`, `-f` and `-v`: passwords of MySQL, encrypted.
    MysqlPasswords,
}

/// A command line of `turnadmin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) verb: Option<Verb>,
    pub(super) user: Option<String>,
    pub(super) realm: Option<Realm>,
    pub(super) password: Option<Secret<String>>,
    pub(super) origin: Option<String>,
    /// Bytes per second of a session; 0 removes the limit.
    pub(super) max_bps: Option<u64>,
    /// Sessions of the realm; 0 removes the limit.
    pub(super) total_quota: Option<u32>,
    /// Sessions of a user; 0 removes the limit.
    pub(super) user_quota: Option<u32>,
    /// The first flag that names a database.
    pub(super) database: Option<&'static str>,
}

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// Where one comes in the same word.
    Maybe,
}
use Takes::{Maybe, Nothing, Value};

/// Short and long names; where there are several long ones, the first is the usual.
type Name = (Option<char>, &'static [&'static str], Takes);

const NAMES: &[Name] = &[
    (Some('P'), &["generate-encrypted-password"], Nothing),
    (Some('E'), &["generate-encrypted-password-aes"], Nothing),
    (Some('k'), &["key"], Nothing),
    (Some('a'), &["add"], Nothing),
    (Some('d'), &["delete"], Nothing),
    (Some('l'), &["list"], Nothing),
    (Some('A'), &["add-admin"], Nothing),
    (Some('D'), &["delete-admin"], Nothing),
    (Some('L'), &["list-admin"], Nothing),
    (Some('s'), &["set-secret"], Value),
    (Some('S'), &["show-secret"], Nothing),
    (Some('X'), &["delete-secret"], Value),
    (None, &["delete-all-secrets"], Nothing),
    (Some('O'), &["add-origin"], Nothing),
    (Some('R'), &["del-origin"], Nothing),
    (Some('I'), &["list-origins"], Maybe),
    (Some('g'), &["set-realm-option"], Nothing),
    (
        Some('G'),
        &["list-realm-option", "list-realm-options"],
        Nothing,
    ),
    (Some('u'), &["user"], Value),
    (Some('r'), &["realm"], Value),
    (Some('p'), &["password"], Value),
    (Some('o'), &["origin"], Value),
    (None, &["max-bps"], Value),
    (None, &["total-quota"], Value),
    (None, &["user-quota"], Value),
    (Some('x'), &["key-path"], Value),
    (Some('f'), &["file-key-path"], Value),
    (Some('v'), &["verify"], Value),
    (Some('b'), &["userdb", "db"], Value),
    (Some('e'), &["psql-userdb", "sql-userdb"], Value),
    (Some('M'), &["mysql-userdb"], Value),
    (Some('J'), &["mongo-userdb"], Value),
    (Some('N'), &["redis-userdb"], Value),
    (Some('h'), &["help"], Nothing),
];

/// Reads the words behind `turnadmin`.
pub(super) fn parse(words: &[String]) -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (name, attached) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let (usual, takes) = find_long(name)?;
            let value = match (takes, attached) {
                (Nothing, Some(_)) => return Err(usage(format!("--{usual} takes no value"))),
                (Value, None) => Some(words.next().ok_or_else(|| missing(usual))?),
                (_, attached) => attached,
            };
            options.take(usual, value)?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            short(&mut options, letters, &mut words)?;
        } else {
            let word = shared::display_safe(word);
            return Err(usage(format!("{word}: options only; --help lists them")));
        }
    }
    Ok(options)
}

/// Flags in one word: the first that takes a value takes the rest of it.
fn short<'w>(
    options: &mut Options,
    letters: &'w str,
    words: &mut impl Iterator<Item = &'w str>,
) -> Result<(), Failure> {
    for (at, letter) in letters.char_indices() {
        let known = NAMES.iter().find(|(short, ..)| *short == Some(letter));
        let Some((_, long, takes)) = known else {
            let letter = letter.to_string();
            let letter = shared::display_safe(&letter);
            return Err(usage(format!(
                "there is no option -{letter}; --help lists them"
            )));
        };
        if *takes != Value {
            options.take(long[0], None)?;
            continue;
        }
        let rest = &letters[at + letter.len_utf8()..];
        let value = match rest.is_empty() {
            true => words.next().ok_or_else(|| missing(long[0]))?,
            false => rest,
        };
        return options.take(long[0], Some(value));
    }
    Ok(())
}

fn find_long(name: &str) -> Result<(&'static str, Takes), Failure> {
    let exact = NAMES.iter().find(|(_, long, _)| long.contains(&name));
    let mut begun = NAMES
        .iter()
        .filter(|(_, long, _)| long.iter().any(|long| long.starts_with(name)));
    match (exact, begun.next(), begun.next()) {
        (Some((_, long, takes)), ..) | (None, Some((_, long, takes)), None) => {
            Ok((long[0], *takes))
        }
        (None, None, _) => {
            let name = shared::display_safe(name);
            Err(usage(format!(
                "there is no option --{name}; --help lists them"
            )))
        }
        (None, Some(_), Some(_)) => {
            let name = shared::display_safe(name);
            Err(usage(format!("several options begin with --{name}")))
        }
    }
}

impl Options {
    fn take(&mut self, name: &'static str, value: Option<&str>) -> Result<(), Failure> {
        let text = value.unwrap_or_default();
        let secret = || Secret::new(text.to_owned());
        match name {
            "user" => self.user = Some(text.to_owned()),
            "realm" => {
                let realm = text
                    .parse()
                    .map_err(|error| usage(format!("-r: {error}")))?;
                self.realm = Some(realm);
            }
            "password" => self.password = Some(secret()),
            "origin" => self.origin = Some(text.to_owned()),
            "max-bps" => self.max_bps = Some(number(name, text)?),
            "total-quota" => self.total_quota = Some(number(name, text)?),
            "user-quota" => self.user_quota = Some(number(name, text)?),
            "userdb" | "psql-userdb" | "mysql-userdb" | "mongo-userdb" | "redis-userdb" => {
                self.database.get_or_insert(name);
            }
            _ => self.verb = Some(verb(name, secret)),
        }
        Ok(())
    }
}

fn verb(name: &str, secret: impl Fn() -> Secret<String>) -> Verb {
    match name {
        "generate-encrypted-password" => Verb::EncryptedPassword,
        "key" => Verb::Key,
        "add" => Verb::AddUser,
        "delete" => Verb::DeleteUser,
        "list" => Verb::ListUsers,
        "add-admin" | "delete-admin" | "list-admin" => Verb::WebAdmins,
        "set-secret" => Verb::SetSecret(secret()),
        "show-secret" => Verb::ShowSecrets,
        "delete-secret" => Verb::DeleteSecret(secret()),
        "delete-all-secrets" => Verb::DeleteAllSecrets,
        "add-origin" => Verb::AddOrigin,
        "del-origin" => Verb::DeleteOrigin,
        "list-origins" => Verb::ListOrigins,
        "set-realm-option" => Verb::SetOptions,
        "list-realm-option" => Verb::ListOptions,
        "help" => Verb::Help,
        _ => Verb::MysqlPasswords,
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Failure> {
    text.trim()
        .parse()
        .map_err(|_| usage(format!("--{name}: a number from 0 on")))
}

fn missing(name: &str) -> Failure {
    usage(format!("--{name} needs a value"))
}

pub(super) fn usage(text: String) -> Failure {
    Failure::Usage(format!("turnadmin: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn options_are_read_as_getopt_reads_them() {
        let all = [
            "-a -u alice -r north.gov -p wonderland",
            "-aualice -rnorth.gov -pwonderland",
            "--add --user=alice --realm north.gov --password=wonderland",
            "--pass wonderland --us alice --rea north.gov --ad -a",
        ];
        for line in &all[..3] {
            let read = read(line).unwrap();
            assert_eq!(read.verb, Some(Verb::AddUser), "{line}");
            assert_eq!(read.user.as_deref(), Some("alice"), "{line}");
            assert_eq!(read.realm, Some("north.gov".parse().unwrap()), "{line}");
            let password = read.password.map(|password| password.expose().clone());
            assert_eq!(password.as_deref(), Some("wonderland"), "{line}");
        }
        // `--us` may be user, userdb or user-quota.
        assert!(read(all[3]).unwrap_err().contains("several options begin"));
        let secret = read("-s north -r north.gov").unwrap().verb;
        assert_eq!(secret, Some(Verb::SetSecret(Secret::new("north".into()))));
        assert_eq!(
            read("--list-origins").unwrap().verb,
            Some(Verb::ListOrigins)
        );
        assert_eq!(
            read("--list-realm-options").unwrap().verb,
            Some(Verb::ListOptions)
        );
        assert_eq!(
            read("-l -b /var/db/turndb").unwrap().database,
            Some("userdb")
        );
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, word) in [
            ("-Z", "-Z"),
            ("-aZ", "-Z"),
            ("--nothing", "--nothing"),
            ("-u", "needs a value"),
            ("--add=x", "takes no value"),
            ("-g --total-quota many", "number"),
            ("-r a/b", "realm"),
            ("alice", "options only"),
        ] {
            let said = read(line).unwrap_err();
            assert!(said.contains(word), "{line}: {said}");
        }
    }
}
