//! From coturn's options to our settings: the tree that a `relayd.toml` with the same meaning has.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::given::Given;
use super::options::Outcome;
use super::{Consent, limits, listening, peers, people, process, services, tls};
use crate::config::error::{ConfigError, Origin};
use crate::config::file::{Item, Value};

/// What a `relayd.toml` would say, by key.
pub(super) type Tree = BTreeMap<String, Item>;

/// Options whose values are nobody else's business.
const SECRET: &[&str] = &[
    "user",
    "static-auth-secret",
    "cli-password",
    "redis-userdb",
    "redis-statsdb",
];

/// What options come to.
#[derive(Debug, Default)]
pub(in crate::config) struct Translated {
    /// Settings.
    pub(in crate::config) tree: Tree,
    /// What an operator is told.
    pub(in crate::config) messages: Vec<String>,
    /// What keeps the node from starting.
    pub(super) errors: Vec<ConfigError>,
}

/// Options while they are translated.
#[derive(Debug)]
pub(super) struct Translation<'a> {
    given: &'a [Given],
    pub(super) consent: Consent,
    realm: Tree,
    done: Translated,
}

/// Translates all of them; of an option that is given twice the last one counts, unless it is a list.
pub(super) fn translate(given: &[Given], consent: Consent) -> Translated {
    let mut all = Translation {
        given,
        consent,
        realm: Tree::new(),
        done: Translated::default(),
    };
    all.answer();
    let has_certificate = tls::translate(&mut all);
    listening::translate(&mut all, has_certificate);
    people::translate(&mut all);
    limits::translate(&mut all);
    peers::translate(&mut all);
    services::translate(&mut all);
    process::translate(&mut all);
    let origin = Origin::Default;
    let realm = Value::Table(std::mem::take(&mut all.realm));
    let realms = Value::List(vec![item(&origin, realm)]);
    all.done
        .tree
        .insert("realm".to_owned(), item(&origin, realms));
    all.done
}

/// A value with its origin.
pub(super) fn item(origin: &Origin, value: Value) -> Item {
    Item {
        origin: origin.clone(),
        value,
    }
}

/// A text with its origin.
pub(super) fn text(origin: &Origin, text: impl Into<String>) -> Item {
    item(origin, Value::Text(text.into()))
}

impl<'a> Translation<'a> {
    /// Messages and refusals of options that have no effect of their own, and of secrets in sight.
    fn answer(&mut self) {
        let mut told: Vec<&str> = Vec::new();
        let in_sight = |given: &&Given| {
            SECRET.contains(&given.option.name) && matches!(given.origin, Origin::Flag(_))
        };
        if let Some(given) = self.given.iter().find(in_sight) {
            self.tell(
                given,
                "every user of this machine sees it: write it into the file",
            );
        }
        for given in self.given {
            let name = given.option.name;
            if told.contains(&name) {
                continue;
            }
            told.push(name);
            // The last one counts.
            let given = self.last(name).unwrap_or(given);
            match (given.option.outcome, self.is_off(given)) {
                (Outcome::Honoured(_), _) | (Outcome::ByDefault(_), false) => {}
                (Outcome::ByDefault(why), true) if !matches!(name, "dtls" | "cli") => {
                    self.tell(given, &format!("switching it off has no effect: {why}"));
                }
                (_, true) => {}
                (Outcome::Message(what), false) => self.tell(given, what),
                (Outcome::Refused(why), false) => self.refuse(given, "is refused", why),
            }
        }
    }

    /// A switch that is switched off.
    fn is_off(&self, given: &Given) -> bool {
        given.option.takes == super::Takes::Switch
            && given.value.as_deref().and_then(switch) == Some(false)
    }

    /// All that were given of a name, in their order.
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &'a Given> + use<'a> {
        debug_assert!(super::options::find(name).is_some(), "{name}");
        self.given
            .iter()
            .filter(move |given| given.option.name == name)
    }

    /// The one that counts.
    pub(super) fn last(&self, name: &'static str) -> Option<&'a Given> {
        self.all(name).last()
    }

    /// Its value; an error where it has none.
    pub(super) fn text(&mut self, name: &'static str) -> Option<(&'a str, &'a Origin)> {
        let given = self.last(name)?;
        match given.value.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Some((text, &given.origin)),
            None => {
                self.refuse(
                    given,
                    "has no value",
                    "write one behind =, or remove the line",
                );
                None
            }
        }
    }

    /// The same where no value is as good as no option.
    pub(super) fn text_unless_empty(
        &mut self,
        name: &'static str,
    ) -> Option<(&'a str, &'a Origin)> {
        let given = self.last(name)?;
        let text = given.value.as_deref().filter(|text| !text.is_empty())?;
        Some((text, &given.origin))
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&mut self, name: &'static str) -> bool {
        let Some(given) = self.last(name) else {
            return false;
        };
        let Some(value) = given.value.as_deref() else {
            return true;
        };
        match switch(value) {
            Some(is_on) => is_on,
            None => {
                self.refuse(
                    given,
                    "is neither on nor off",
                    "write 1 or 0, or nothing for 1",
                );
                false
            }
        }
    }

    /// A number in `range`; what stands behind it after a blank is a comment, as coturn reads it.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<(i64, &'a Origin)> {
        let (text, origin) = self.text(name)?;
        let digits = text.split([' ', '\t']).next().unwrap_or(text);
        let number = digits.parse().ok().filter(|number| range.contains(number));
        let Some(number) = number else {
            let given = self.last(name)?;
            let remedy = format!("write a number from {} to {}", range.start(), range.end());
            self.refuse(given, "is no number in range", &remedy);
            return None;
        };
        Some((number, origin))
    }

    /// A value that means something.
    pub(super) fn parsed<T: FromStr>(&mut self, given: &Given, wanted: &str) -> Option<T> {
        let value = given.value.as_deref().unwrap_or_default();
        let parsed = value.parse().ok();
        if parsed.is_none() {
            let problem = format!("{:?} is not valid", shared::display_safe(value));
            self.refuse(given, &problem, &format!("write {wanted}"));
        }
        parsed
    }

    /// Says what relayd does instead.
    pub(super) fn tell(&mut self, given: &Given, what: &str) {
        let message = format!("{}: {}: {what}", given.origin, given.option.name);
        self.done.messages.push(message);
    }

    /// Says something that no line says.
    pub(super) fn tell_all(&mut self, message: impl Into<String>) {
        self.done.messages.push(message.into());
    }

    /// Nothing starts.
    pub(super) fn refuse(&mut self, given: &Given, problem: &str, remedy: &str) {
        self.refuse_at(&given.origin, given.option.name, problem, remedy);
    }

    /// Nothing starts, for a reason that stands elsewhere.
    pub(super) fn refuse_at(&mut self, origin: &Origin, name: &str, problem: &str, remedy: &str) {
        self.done.errors.push(ConfigError {
            origin: origin.clone(),
            key: name.to_owned(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// Makes a setting: `store.url` in the section `store`.
    pub(super) fn set(&mut self, key: &str, origin: &Origin, value: Value) {
        debug_assert!(crate::config::keys::find(key).is_some(), "{key}");
        let Some((section, key)) = key.split_once('.') else {
            self.done.tree.insert(key.to_owned(), item(origin, value));
            return;
        };
        let empty = || item(origin, Value::Table(Tree::new()));
        let section = self
            .done
            .tree
            .entry(section.to_owned())
            .or_insert_with(empty);
        if let Value::Table(table) = &mut section.value {
            table.insert(key.to_owned(), item(origin, value));
        }
    }

    /// Makes a setting of the realm.
    pub(super) fn set_of_realm(&mut self, key: &str, origin: &Origin, value: Value) {
        debug_assert!(crate::config::keys::REALM_KEYS.contains(&key), "{key}");
        self.realm.insert(key.to_owned(), item(origin, value));
    }

    /// A text as it stands becomes a setting.
    pub(super) fn copy_text(&mut self, name: &'static str, key: &str) {
        if let Some((text, origin)) = self.text(name) {
            self.set(key, origin, Value::Text(text.to_owned()));
        }
    }

    /// A number as it stands becomes a setting, without a unit or as seconds.
    pub(super) fn copy_number(
        &mut self,
        name: &'static str,
        key: &str,
        range: RangeInclusive<i64>,
    ) {
        if let Some((number, origin)) = self.number(name, range) {
            self.set(key, origin, Value::Integer(number));
        }
    }

    /// A switch that was given becomes a setting.
    pub(super) fn copy_switch(&mut self, name: &'static str, key: &str) {
        if let Some(given) = self.last(name) {
            let is_on = self.is_on(name);
            self.set(key, &given.origin, Value::Boolean(is_on));
        }
    }
}

/// On and off as coturn writes them.
fn switch(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["1", "on", "yes", "t", "true", "y"]) {
        return Some(true);
    }
    is(&["0", "off", "no", "f", "false", "n"]).then_some(false)
}
