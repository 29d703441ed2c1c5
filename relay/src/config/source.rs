//! One lookup over flags, environment, overrides and file, and typed reading with collected errors.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use shared::api::SettingSource;
use shared::units;

use super::args::Args;
use super::error::{ConfigError, Origin};
use super::file::{Item, Value};
use super::keys::{self, Key, Kind};
use super::layers::{Layers, Overrides};
use super::misspelt;

/// Reads settings and collects what is wrong with them.
pub(super) struct Reader<'a> {
    args: &'a Args,
    overrides: &'a Overrides,
    file: BTreeMap<String, Item>,
    /// Whether the file is coturn's.
    pub(super) is_coturns: bool,
    /// What is wrong so far.
    pub(super) errors: Vec<ConfigError>,
    /// What is unwise so far.
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Over these layers.
    pub(super) fn new(layers: &'a Layers, overrides: &'a Overrides) -> Self {
        Self {
            args: &layers.args,
            overrides,
            file: layers.file.clone(),
            is_coturns: layers.coturn.is_some(),
            errors: Vec::new(),
            warnings: layers.coturn.clone().unwrap_or_default(),
        }
    }

    /// Notes that `key` is wrong.
    pub(super) fn error(
        &mut self,
        origin: &Origin,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors.push(ConfigError {
            origin: origin.clone(),
            key: shared::display_safe(key).into_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// The file, if there is one.
    pub(super) fn file_path(&self) -> Option<std::path::PathBuf> {
        self.args.file()
    }

    /// A variable of the environment that is no setting of ours (`HOME` and the like).
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.args
            .environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Takes the `[[realm]]` tables out of the file.
    pub(super) fn take_realms(&mut self) -> Vec<Item> {
        match self.file.remove("realm") {
            None => Vec::new(),
            Some(Item {
                value: Value::List(items),
                ..
            }) => items,
            Some(item) => {
                let problem = format!("is {}", item.value.kind());
                self.error(
                    &item.origin,
                    "realm",
                    problem,
                    "write each realm as a [[realm]] table",
                );
                Vec::new()
            }
        }
    }

    /// Reports what in the file and the environment is no setting.
    pub(super) fn reject_unknown(&mut self) {
        let known = || keys::KEYS.iter().map(|key| key.name);
        let mut unknown = Vec::new();
        for (name, item) in &self.file {
            if keys::find(name).is_some() {
                continue;
            }
            let section = format!("{name}.");
            let is_section = known().any(|key| key.starts_with(&section));
            match &item.value {
                Value::Table(inner) if is_section => {
                    let names = inner
                        .iter()
                        .map(|(key, item)| (format!("{section}{key}"), item));
                    unknown.extend(names.filter(|(key, _)| keys::find(key).is_none()));
                }
                _ => unknown.push((name.clone(), item)),
            }
        }
        let unknown: Vec<_> = unknown
            .into_iter()
            .map(|(name, item)| (name, item.origin.clone()))
            .collect();
        for (name, origin) in unknown {
            let section = format!("{name}.");
            if known().any(|key| key.starts_with(&section)) {
                self.error(
                    &origin,
                    &name,
                    "is a section",
                    format!("write it as [{name}]"),
                );
                continue;
            }
            let remedy = misspelt::remedy_for_unknown(&name, known());
            self.error(&origin, &name, "unknown key", remedy);
        }
        self.warn_of_unknown_variables();
    }

    /// A warning only: somebody else may have a reason to use the prefix.
    fn warn_of_unknown_variables(&mut self) {
        let known: Vec<String> = keys::KEYS.iter().map(Key::variable).collect();
        for name in self
            .args
            .environment
            .keys()
            .filter(|name| name.starts_with("RELAYD_"))
        {
            if name != "RELAYD_CONFIG" && !known.contains(name) {
                let name = shared::display_safe(name);
                self.warnings
                    .push(format!("environment {name}: no setting of that name"));
            }
        }
    }

    /// The value of `name` that wins, in the type the key has where that is possible.
    pub(super) fn find(&self, name: &str) -> Option<Item> {
        self.find_with_source(name).map(|(item, _)| item)
    }

    /// The layer that each setting comes from.
    pub(super) fn sources(&self) -> BTreeMap<&'static str, SettingSource> {
        let names = keys::KEYS.iter().map(|key| key.name);
        names
            .filter_map(|name| Some((name, self.find_with_source(name)?.1)))
            .collect()
    }

    fn find_with_source(&self, name: &str) -> Option<(Item, SettingSource)> {
        let key = keys::find(name).expect("settings are read by names of the table");
        if let Some(values) = self.args.flags.get(name) {
            let origin = Origin::Flag(format!("--{}", key.flag_name()));
            return Some((from_text(key, &origin, values), SettingSource::Flag));
        }
        let variable = key.variable();
        if let Some(value) = self.variable(&variable) {
            let values: Vec<String> = match key.kind {
                Kind::List | Kind::Table => value
                    .split(',')
                    .map(|part| part.trim().to_owned())
                    .collect(),
                Kind::Text | Kind::Integer | Kind::Boolean => vec![value.to_owned()],
            };
            let item = from_text(key, &Origin::Environment(variable), &values);
            return Some((item, SettingSource::Environment));
        }
        if let Some(item) = self.overrides.node.get(key, Origin::NodeOverride) {
            return Some((item, SettingSource::Node));
        }
        if let Some(item) = self.overrides.cluster.get(key, Origin::ClusterOverride) {
            return Some((item, SettingSource::Cluster));
        }
        let of_file = match name.split_once('.') {
            None => self.file.get(name).cloned(),
            Some((section, inner)) => match &self.file.get(section)?.value {
                Value::Table(table) => table.get(inner).cloned(),
                _ => None,
            },
        };
        of_file.map(|item| (item, SettingSource::File))
    }

    fn wrong_type(&mut self, name: &str, item: &Item, wanted: &str) {
        self.error(
            &item.origin,
            name,
            format!("is {}", item.value.kind()),
            format!("write {wanted}"),
        );
    }

    /// A text and where it came from.
    pub(super) fn text(&mut self, name: &str) -> Option<(String, Origin)> {
        let item = self.find(name)?;
        match item.value {
            Value::Text(text) => Some((text, item.origin)),
            _ => {
                self.wrong_type(name, &item, "it as text in quotes");
                None
            }
        }
    }

    /// A text that means something.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let (text, origin) = self.text(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                let problem = format!("{:?} is not valid", shared::display_safe(&text));
                self.error(&origin, name, problem, format!("write {wanted}"));
                None
            }
        }
    }

    /// An integer in `range`.
    pub(super) fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let item = self.find(name)?;
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        match item.value {
            Value::Integer(number) if range.contains(&number) => Some(number),
            Value::Integer(number) => {
                let problem = format!("{number} is out of range");
                self.error(&item.origin, name, problem, format!("write {wanted}"));
                None
            }
            _ => {
                self.wrong_type(name, &item, &wanted);
                None
            }
        }
    }

    /// A boolean.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        let item = self.find(name)?;
        let Value::Boolean(value) = item.value else {
            self.wrong_type(name, &item, "true or false");
            return None;
        };
        Some(value)
    }

    /// A duration of so many seconds: `10m`, or plain seconds.
    pub(super) fn duration(&mut self, name: &str, secs: RangeInclusive<u64>) -> Option<Duration> {
        let item = self.find(name)?;
        let parsed = match &item.value {
            Value::Text(text) => units::parse_duration(text),
            Value::Integer(number) => u64::try_from(*number).ok().map(Duration::from_secs),
            _ => None,
        };
        let parsed = parsed.filter(|duration| secs.contains(&duration.as_secs()));
        if parsed.is_none() {
            let wanted = format!(
                "write a duration from {}s to {}s, as in \"90s\" or \"10m\"",
                secs.start(),
                secs.end()
            );
            self.error(&item.origin, name, "is no duration in range", wanted);
        }
        parsed
    }

    /// The entries of a list, and whether it was given at all; one text stands for a list of one.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<Item>> {
        let item = self.find(name)?;
        match item.value {
            Value::List(items) => Some(items),
            Value::Text(_) => Some(vec![item]),
            _ => {
                self.wrong_type(name, &item, "a list, as in [\"one\", \"two\"]");
                None
            }
        }
    }

    /// A list whose entries mean something.
    pub(super) fn parsed_list<T: FromStr>(&mut self, name: &str, wanted: &str) -> Vec<T> {
        let items = self.list(name).unwrap_or_default();
        items
            .iter()
            .filter_map(|item| self.entry(name, item, wanted))
            .collect()
    }

    /// An entry of a list.
    pub(super) fn entry<T: FromStr>(&mut self, name: &str, item: &Item, wanted: &str) -> Option<T> {
        let Value::Text(text) = &item.value else {
            self.wrong_type(name, item, wanted);
            return None;
        };
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let problem = format!("{:?} is not valid", shared::display_safe(text));
            self.error(&item.origin, name, problem, format!("write {wanted}"));
        }
        parsed
    }

    /// Names and texts.
    pub(super) fn table(&mut self, name: &str) -> BTreeMap<String, Item> {
        let Some(item) = self.find(name) else {
            return BTreeMap::new();
        };
        match item.value {
            Value::Table(table) => table,
            _ => {
                self.wrong_type(
                    name,
                    &item,
                    "name = \"value\" lines, or name=value in a flag",
                );
                BTreeMap::new()
            }
        }
    }
}

/// What a flag or a variable says, in the type of its key; text where it is none of that type, so
/// that reading it reports the error.
pub(super) fn from_text(key: &Key, origin: &Origin, values: &[String]) -> Item {
    let item = |value| Item {
        origin: origin.clone(),
        value,
    };
    let last = values.last().map_or("", String::as_str);
    let text = || Value::Text(last.to_owned());
    item(match key.kind {
        Kind::Text => text(),
        Kind::Integer => last.parse().map_or_else(|_| text(), Value::Integer),
        Kind::Boolean => match last {
            "true" | "1" | "yes" => Value::Boolean(true),
            "false" | "0" | "no" => Value::Boolean(false),
            _ => text(),
        },
        Kind::List => {
            let texts = values.iter().filter(|value| !value.is_empty());
            Value::List(
                texts
                    .map(|value| item(Value::Text(value.clone())))
                    .collect(),
            )
        }
        Kind::Table => {
            let pairs: Option<BTreeMap<String, Item>> = values
                .iter()
                .map(|pair| {
                    let (name, value) = pair.split_once('=')?;
                    Some((name.to_owned(), item(Value::Text(value.to_owned()))))
                })
                .collect();
            pairs.map_or_else(text, Value::Table)
        }
    })
}
