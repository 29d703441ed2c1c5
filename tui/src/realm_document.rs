//! A realm's document as operators write it: `key=value`, and TOML with comments.

use std::fmt::Write as _;
use std::str::FromStr;

use serde_json::{Map, Value, json};
use shared::api::{RealmDocument, RealmPreview};
use shared::filter::nearest;
use shared::units::grouped;
use shared::{IpRange, units};

/// A setting of a realm.
struct Key {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    example: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A count; absent: no limit.
    Limit,
    /// Seconds.
    Seconds,
    /// Address ranges.
    Ranges,
    /// Texts.
    Texts,
    /// One character.
    Character,
    /// `true` or `false`.
    Flag,
    /// `true` or `false`; absent: as the node has it.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text.
    Text,
}

const fn key(name: &'static str, kind: Kind, help: &'static str, example: &'static str) -> Key {
    Key {
        name,
        kind,
        help,
        example,
    }
}

const KEYS: [Key; 24] = [
    key(
        "max_sessions",
        Kind::Limit,
        "Sessions in the realm, over all nodes",
        "1000",
    ),
    key(
        "max_sessions_per_user",
        Kind::Limit,
        "Sessions of a user, over all nodes",
        "12",
    ),
    key(
        "max_rate_bps",
        Kind::Limit,
        "Bits per second of a session, each direction",
        "2000000",
    ),
    key(
        "max_user_rate_bps",
        Kind::Limit,
        "Bits per second of all sessions of a user, each direction",
        "5000000",
    ),
    key(
        "max_realm_rate_bps",
        Kind::Limit,
        "Bits per second of all sessions of the realm, each direction",
        "1000000000",
    ),
    key(
        "max_new_peers_per_sec",
        Kind::Limit,
        "New peers per second of a session; ten seconds' worth may come at once",
        "10",
    ),
    key(
        "max_user_new_peers_per_sec",
        Kind::Limit,
        "New peers per second of all sessions of a user, per node",
        "20",
    ),
    key(
        "max_realm_new_peers_per_sec",
        Kind::Limit,
        "New peers per second of all sessions of the realm, per node",
        "1000",
    ),
    key(
        "default_lifetime_secs",
        Kind::Seconds,
        "Lifetime unless asked for more, 1 to 86400",
        "600",
    ),
    key(
        "max_lifetime_secs",
        Kind::Seconds,
        "Longest lifetime, 1 to 86400",
        "3600",
    ),
    key(
        "allowed_peers",
        Kind::Ranges,
        "Peers allowed although denied below",
        "[\"10.1.2.0/24\"]",
    ),
    key(
        "denied_peers",
        Kind::Ranges,
        "Peers denied",
        "[\"198.51.100.0/24\"]",
    ),
    key(
        "origins",
        Kind::Texts,
        "Web origins whose clients authenticate in this realm",
        "[\"https://app.example.org\"]",
    ),
    key(
        "server_names",
        Kind::Texts,
        "Host names that TLS and DTLS clients of this realm ask for (SNI)",
        "[\"turn.example.org\"]",
    ),
    key(
        "rest_separator",
        Kind::Character,
        "Between expiry and user in usernames",
        "\":\"",
    ),
    key(
        "password_algorithms",
        Kind::Texts,
        "Offered to clients of RFC 8489; none: md5 without saying so",
        "[\"sha-256\", \"md5\"]",
    ),
    key(
        "username_anonymity",
        Kind::Flag,
        "Clients send a hash for their name; not beside secrets",
        "true",
    ),
    key(
        "tcp_relay",
        Kind::Switch,
        "Whether clients may have TCP relayed (RFC 6062); not set: as each node has it",
        "true",
    ),
    key(
        "revoke_on_user_removal",
        Kind::Flag,
        "Calls end when their user is deleted or switched off",
        "true",
    ),
    key(
        "revoke_on_password_change",
        Kind::Flag,
        "Calls end when their user gets another password",
        "true",
    ),
    key(
        "revoke_on_secret_removal",
        Kind::Flag,
        "Calls end when the secret of their credential is removed or retired",
        "true",
    ),
    key(
        "revoke_on_credential_expiry",
        Kind::Flag,
        "Calls end when their time-limited credential does",
        "true",
    ),
    key(
        "new_sessions_without_store",
        Kind::Choice(&["cached", "refuse"]),
        "New calls while a node cannot reach the store: of whom it knows, or none",
        "\"refuse\"",
    ),
    key("note", Kind::Text, "For operators", "\"call centre\""),
];

/// `key=value` of a command line.
#[derive(Clone, Debug)]
pub struct Setting {
    key: String,
    value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("as in max_sessions=100")?;
        let key = find(name)?;
        Ok(Self {
            key: name.to_owned(),
            value: key.parse(value)?,
        })
    }
}

fn find(name: &str) -> Result<&'static Key, String> {
    KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
        let name = shared::display_safe(name);
        match nearest(&name, KEYS.iter().map(|key| key.name)) {
            Some(nearest) => format!("there is no setting '{name}'; did you mean '{nearest}'?"),
            None => format!("there is no setting '{name}'"),
        }
    })
}

impl Key {
    /// What its absence means, as JSON.
    fn unset(&self) -> Value {
        match self.kind {
            Kind::Limit | Kind::Switch => Value::Null,
            Kind::Ranges | Kind::Texts => json!([]),
            Kind::Text => json!(""),
            Kind::Flag => json!(false),
            Kind::Choice(words) => json!(words[0]),
            Kind::Seconds | Kind::Character => to_map(&RealmDocument::default())[self.name].clone(),
        }
    }

    fn parse(&self, text: &str) -> Result<Value, String> {
        let fail = |what: &str| format!("{}: {what}", self.name);
        if text == "none" || text.is_empty() {
            return Ok(self.unset());
        }
        match self.kind {
            Kind::Limit => units::parse_number(text)
                .map(Value::from)
                .ok_or_else(|| fail("a number, as in 100 or 2M, or none")),
            Kind::Seconds => units::parse_duration(text)
                .map(|duration| duration.as_secs().into())
                .ok_or_else(|| fail("a duration, as in 600 or 10m")),
            Kind::Ranges => {
                let range = |part: &str| part.trim().parse::<IpRange>().map(|r| json!(r));
                let ranges = text.split(',').map(range).collect::<Result<Vec<_>, _>>();
                ranges.map(Value::from).map_err(|e| fail(&e.to_string()))
            }
            Kind::Texts => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Ok(items.map(Value::from).collect())
            }
            Kind::Flag | Kind::Switch => match text {
                "true" => Ok(json!(true)),
                "false" => Ok(json!(false)),
                _ if self.kind == Kind::Switch => Err(fail("true, false or none")),
                _ => Err(fail("true or false")),
            },
            Kind::Choice(words) if words.contains(&text) => Ok(json!(text)),
            Kind::Choice(words) => Err(fail(&words.join(" or "))),
            Kind::Character | Kind::Text => Ok(json!(text)),
        }
    }
}

impl Setting {
    /// Changes `document`.
    ///
    /// # Errors
    /// The value does not fit, as a count of more than 32 bits.
    pub(crate) fn apply(&self, document: &mut RealmDocument) -> Result<(), String> {
        let mut map = to_map(document);
        map.insert(self.key.clone(), self.value.clone());
        *document = serde_json::from_value(Value::Object(map))
            .map_err(|error| format!("{}: {error}", self.key))?;
        Ok(())
    }
}

/// The document with every known key.
fn to_map(document: &RealmDocument) -> Map<String, Value> {
    let mut map = match serde_json::to_value(document) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    for key in &KEYS {
        let empty = match key.kind {
            Kind::Limit | Kind::Switch => Value::Null,
            Kind::Ranges | Kind::Texts => json!([]),
            Kind::Flag => json!(false),
            Kind::Choice(words) => json!(words[0]),
            Kind::Seconds | Kind::Character | Kind::Text => json!(""),
        };
        map.entry(key.name).or_insert(empty);
    }
    map
}

/// One line per setting that differs.
pub(crate) fn diff(before: &RealmDocument, after: &RealmDocument) -> Vec<String> {
    let (before, after) = (to_map(before), to_map(after));
    let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let shown = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(value) => value.to_string(),
    };
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| {
            format!(
                "{key}: {} -> {}",
                shown(before.get(key)),
                shown(after.get(key))
            )
        })
        .collect()
}

/// What the nodes say that a document would do, in sentences.
pub(crate) fn effects(preview: &RealmPreview, document: &RealmDocument) -> Vec<String> {
    let sessions = grouped(preview.sessions);
    let mut lines = vec![format!(
        "new sessions: at once on {} nodes; {sessions} exist now",
        preview.nodes
    )];
    if preview.sessions_over_rate > 0 {
        let limit = document
            .max_rate_bps
            .map_or_else(String::new, |limit| format!(" {}", units::bit_rate(limit)));
        let over = grouped(preview.sessions_over_rate);
        lines.push(format!("{over} sessions are above{limit} now"));
    }
    if preview.sessions_with_denied_peers > 0 {
        let denied = grouped(preview.sessions_with_denied_peers);
        lines.push(format!("{denied} sessions talk to peers that it denies"));
    }
    if preview.users_over_limit > 0 {
        let users = grouped(preview.users_over_limit);
        lines.push(format!(
            "{users} users have more sessions than it allows; they keep them until they end"
        ));
    }
    if preview.nodes_over_limit > 0 {
        let nodes = preview.nodes_over_limit;
        lines.push(format!(
            "{nodes} nodes have more sessions of the realm than it allows; they end by themselves"
        ));
    }
    if preview.sessions_revoked > 0 {
        let revoked = grouped(preview.sessions_revoked);
        lines.push(format!(
            "{revoked} sessions end at once: the new revoke_on rules hold of them"
        ));
    }
    if preview.sessions_unjudged > 0 {
        let unjudged = grouped(preview.sessions_unjudged);
        lines.push(format!(
            "{unjudged} sessions may end at once: whether the new revoke_on rules hold of them is not known"
        ));
    }
    if !preview.missing.is_empty() {
        let names = preview.missing.iter().map(|m| m.node.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        lines.push(format!("not counted, no answer: {names}"));
    }
    lines
}

/// `theirs` with what `mine` changed of `base`.
///
/// # Errors
/// The two do not go together.
pub(crate) fn rebase(
    base: &RealmDocument,
    mine: &RealmDocument,
    theirs: &RealmDocument,
) -> Result<RealmDocument, String> {
    let (base, mine, mut merged) = (to_map(base), to_map(mine), to_map(theirs));
    for (key, value) in &mine {
        if base.get(key) != Some(value) {
            merged.insert(key.clone(), value.clone());
        }
    }
    merged.retain(|key, _| mine.contains_key(key) || !base.contains_key(key));
    serde_json::from_value(Value::Object(merged)).map_err(|error| error.to_string())
}

/// The document as TOML with a comment per setting; what is not set is a comment too.
///
/// # Errors
/// A field of a newer version that TOML cannot hold.
pub(crate) fn to_toml(title: &str, document: &RealmDocument) -> Result<String, String> {
    let mut text = format!("# {title}\n# A setting that is commented out is not set.\n");
    let map = to_map(document);
    for key in &KEYS {
        let value = &map[key.name];
        let set = *value != Value::Null && *value != json!([]) && *value != json!("");
        let _ = write!(text, "\n# {}\n", key.help);
        if set {
            let value: toml::Value = value.clone().try_into_toml()?;
            let _ = writeln!(text, "{} = {value}", key.name);
        } else {
            let _ = writeln!(text, "# {} = {}", key.name, key.example);
        }
    }
    if !document.extra.is_empty() {
        let extra = toml::to_string(&document.extra).map_err(|e| e.to_string())?;
        let _ = write!(
            text,
            "\n# Settings that this version does not know\n{extra}"
        );
    }
    Ok(text)
}

trait IntoToml {
    fn try_into_toml(self) -> Result<toml::Value, String>;
}

impl IntoToml for Value {
    fn try_into_toml(self) -> Result<toml::Value, String> {
        toml::Value::try_from(self).map_err(|e| e.to_string())
    }
}

/// The document that edited TOML says; `before` tells which unknown fields are legal.
///
/// # Errors
/// The text is no TOML, or a field is wrong or unknown.
pub(crate) fn from_toml(text: &str, before: &RealmDocument) -> Result<RealmDocument, String> {
    let table: toml::Table = toml::from_str(text).map_err(|e| e.to_string())?;
    let value = serde_json::to_value(&table).map_err(|e| e.to_string())?;
    let Value::Object(mut map) = value else {
        return Err("no table".to_owned());
    };
    for name in map.keys() {
        if !before.extra.contains_key(name) {
            find(name)?;
        }
    }
    for key in &KEYS {
        map.entry(key.name).or_insert_with(|| key.unset());
    }
    let document: RealmDocument =
        serde_json::from_value(Value::Object(map)).map_err(|e| e.to_string())?;
    document.validate().map_err(|errors| errors.join("\n"))?;
    Ok(document)
}
