//! The layers that a configuration is made of, kept so that the store's overrides can be laid
//! between them at any time: default, file, override for all nodes, override for this node,
//! environment, flag.
//!
//! The file is read once per start or reload: a change in the store never brings in an edit of the
//! file that nobody asked the node to read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::api::{Applies, SettingSource};

use super::args::Args;
use super::coturn;
use super::error::{ConfigError, ConfigErrors, Origin};
use super::file::{self, Item, Value};
use super::keys::{self, KEYS, Kind};
use super::misspelt;
use super::source::from_text;
use super::{Config, resolve};

/// Flags, environment and file as they were read.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) args: Args,
    pub(super) file: BTreeMap<String, Item>,
    /// What is said of coturn's options; `None`: the file is our own.
    pub(super) coturn: Option<Vec<String>>,
}

impl fmt::Debug for Layers {
    /// No values: any of the three can hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("args", &self.args)
            .field("file", &self.file.keys())
            .finish()
    }
}

impl Layers {
    /// Reads the file that `args` name, if any.
    pub(super) fn read(args: &Args, errors: &mut Vec<ConfigError>) -> Self {
        let told = errors.len();
        if let Some(translated) = coturn::read(args, errors) {
            return Self {
                args: args.clone(),
                file: translated.tree,
                coturn: Some(translated.messages),
            };
        }
        // A file that was told of already is not read for more.
        let path = args.file().filter(|_| errors.len() == told);
        Self {
            args: args.clone(),
            file: path
                .map(|path| file::read(&path, errors))
                .unwrap_or_default(),
            coturn: None,
        }
    }

    /// The same surroundings with no setting made: what defaults follow from.
    #[must_use]
    pub(super) fn bare(&self) -> Self {
        let is_setting = |name: &str| name.starts_with("RELAYD_");
        let environment = self.args.environment.iter();
        Self {
            args: Args {
                environment: environment
                    .filter(|(name, _)| !is_setting(name))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
                ..Args::default()
            },
            file: BTreeMap::new(),
            coturn: None,
        }
    }
}

/// What the store overrides, for all nodes and for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// For all nodes.
    pub cluster: OverrideLayer,
    /// For this one.
    pub node: OverrideLayer,
}

/// The overrides of one scope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OverrideLayer {
    /// The revision of the document; 0: there is none.
    pub revision: u64,
    /// The values, by key.
    pub settings: BTreeMap<String, serde_json::Value>,
}

impl OverrideLayer {
    /// The value of a setting, if there is one that the store may override.
    pub(super) fn get(&self, key: &keys::Key, origin: Origin) -> Option<Item> {
        let value = self.settings.get(key.name)?;
        key.can_be_overridden().then(|| item(&origin, value))
    }
}

/// A JSON value as the file would give it.
fn item(origin: &Origin, value: &serde_json::Value) -> Item {
    use serde_json::Value as Json;
    let value = match value {
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => number
            .as_i64()
            .map_or(Value::Other("no integer in range"), Value::Integer),
        Json::Array(items) => Value::List(items.iter().map(|each| item(origin, each)).collect()),
        Json::Object(table) => Value::Table(
            table
                .iter()
                .map(|(name, value)| (name.clone(), item(origin, value)))
                .collect(),
        ),
        Json::Null => Value::Other("nothing"),
    };
    Item {
        origin: origin.clone(),
        value,
    }
}

/// The inverse of [`item`].
fn json(item: &Item) -> serde_json::Value {
    match &item.value {
        Value::Text(text) => text.as_str().into(),
        Value::Boolean(value) => (*value).into(),
        Value::Integer(number) => (*number).into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Table(table) => table
            .iter()
            .map(|(name, item)| (name.clone(), json(item)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Other(_) => serde_json::Value::Null,
    }
}

/// Where the values of a [`Config`] come from.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    pub(super) layers: Arc<Layers>,
    pub(super) sources: BTreeMap<&'static str, SettingSource>,
    /// The overrides that are in it.
    pub overrides: Overrides,
}

impl Config {
    /// The same file, environment and flags with other overrides of the store.
    ///
    /// # Errors
    /// What is wrong with the overrides. What was wrong without them (a certificate that vanished,
    /// say) is none of their fault, and nothing that a change in the store could mend.
    pub fn with_overrides(&self, overrides: &Overrides) -> Result<Self, ConfigErrors> {
        if self.provenance.overrides == *overrides {
            return Ok(self.clone());
        }
        let layers = &self.provenance.layers;
        let (config, mut errors) = resolve::over(layers, overrides);
        if !errors.is_empty() {
            let (_, known) = resolve::over(layers, &Overrides::default());
            errors.retain(|error| !known.contains(error));
        }
        ConfigErrors::check(errors)?;
        Ok(config)
    }

    /// The same without the store's overrides of what applies at a start; `None`: there are none.
    #[must_use]
    pub fn without_overrides_of_starts(&self) -> Option<Self> {
        let mut overrides = self.provenance.overrides.clone();
        let is_live = |name: &str| keys::find(name).is_none_or(|key| key.applies == Applies::Live);
        for layer in [&mut overrides.cluster, &mut overrides.node] {
            layer.settings.retain(|name, _| is_live(name));
        }
        if overrides == self.provenance.overrides {
            return None;
        }
        self.with_overrides(&overrides).ok()
    }

    /// Whether overrides are valid at all, on a node that sets nothing else.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check_overrides(&self, overrides: &Overrides) -> Result<(), ConfigErrors> {
        let bare = Self {
            provenance: Provenance {
                layers: Arc::new(self.provenance.layers.bare()),
                ..Provenance::default()
            },
            ..self.clone()
        };
        bare.with_overrides(overrides).map(drop)
    }
}

/// A value for the setting `name` in the type that it has: the text of a flag or a variable becomes
/// a number, a list and so on.
///
/// # Errors
/// No setting of that name, or one that the store cannot override; in words, with the remedy.
pub fn override_value(name: &str, value: &serde_json::Value) -> Result<serde_json::Value, String> {
    let key = overridable(name)?;
    let texts: Vec<String> = match value {
        serde_json::Value::Null => {
            return Err(format!("{name}: null is no value; unset it instead"));
        }
        serde_json::Value::String(text) => match key.kind {
            Kind::Text => return Ok(value.clone()),
            Kind::List | Kind::Table => text.split(',').map(|part| part.trim().into()).collect(),
            Kind::Integer | Kind::Boolean => vec![text.trim().to_owned()],
        },
        _ => return Ok(value.clone()),
    };
    Ok(json(&from_text(key, &Origin::Default, &texts)))
}

/// Whether there is a setting of that name that the store can override: no secret, then.
#[must_use]
pub fn is_overridable(name: &str) -> bool {
    keys::find(name).is_some_and(keys::Key::can_be_overridden)
}

/// The setting of that name, if the store can override it.
fn overridable(name: &str) -> Result<&'static keys::Key, String> {
    let shown = shared::display_safe(name);
    let Some(key) = keys::find(name) else {
        let known = KEYS.iter().map(|key| key.name);
        let remedy = misspelt::remedy_for_unknown(name, known);
        return Err(format!("{shown}: unknown key; {remedy}"));
    };
    if !key.can_be_overridden() {
        return Err(format!(
            "{shown}: the store cannot override it; set it in the file, the environment or the \
             flags of each node"
        ));
    }
    Ok(key)
}
