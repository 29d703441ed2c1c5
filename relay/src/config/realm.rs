//! `[[realm]]`: documents, users and secrets of the file.

use std::collections::{BTreeMap, HashSet};

use shared::api::{RealmDocument, WithoutStore};
use shared::{
    IpRange, PasswordAlgorithm, Realm, Secret, Username, WebOrigin, opaque_string, units,
};

use super::cluster_key::parse_hex;
use super::error::Origin;
use super::file::{Item, Value};
use super::keys::{REALM_KEYS, USER_KEYS};
use super::misspelt::remedy_for_unknown;
use super::source::Reader;
use super::{ConfigRealm, ConfigUser, WeakCredentials};
use crate::store::UserKeys;
use crate::store::user_keys::hash_of;

/// Passwords and secrets that stand in samples and manuals: whoever scans for relays tries them.
const SAMPLES: &[&str] = &[
    "change-me",
    "changeme",
    "change_me",
    "password",
    "password1",
    "password2",
    "secret",
    "north",
    "logen",
    "qwerty",
    "example",
    "test",
    "123456",
    "12345678",
    "1234567890",
];
/// Shorter passwords can be guessed from one captured packet.
const SHORT_PASSWORD: usize = 8;
/// Shorter secrets have less than 128 bits.
const SHORT_SECRET: usize = 16;

const RANGE: &str = "an address, address/prefix or first-last, as in \"10.0.0.0/8\"";

/// One `[[realm]]` table while it is read.
struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    weak: WeakCredentials,
    table: BTreeMap<String, Item>,
}

/// Reads all `[[realm]]` tables; `default` holds what applies where a realm says nothing.
pub(super) fn resolve(
    reader: &mut Reader<'_>,
    default: &RealmDocument,
    weak: WeakCredentials,
) -> Vec<ConfigRealm> {
    let mut seen: HashSet<Realm> = HashSet::new();
    let mut owners: BTreeMap<(&str, String), Realm> = BTreeMap::new();
    let mut realms = Vec::new();
    for item in reader.take_realms() {
        let Value::Table(table) = item.value else {
            let problem = format!("is {}", item.value.kind());
            reader.error(
                &item.origin,
                "realm",
                problem,
                "write each realm as a [[realm]] table",
            );
            continue;
        };
        let name_origin = table
            .get("name")
            .map_or(&item.origin, |name| &name.origin)
            .clone();
        let Some(realm) = (Section {
            reader,
            weak,
            table,
        })
        .read(&item.origin, default) else {
            continue;
        };
        if !seen.insert(realm.name.clone()) {
            let problem = format!("{} appears twice", realm.name);
            reader.error(&name_origin, "realm.name", problem, "join the two tables");
        }
        for (field, value) in realm.document.claims() {
            if let Some(other) = owners.insert((field, value.clone()), realm.name.clone())
                && other != realm.name
            {
                let problem = format!("{value} belongs to the realm {other} already");
                let remedy = "leave it in one of the two realms";
                let key = format!("realm.{field}");
                reader.error(&name_origin, &key, problem, remedy);
            }
        }
        realms.push(realm);
    }
    realms
}

impl Section<'_, '_> {
    fn read(mut self, origin: &Origin, default: &RealmDocument) -> Option<ConfigRealm> {
        self.reject_unknown();
        let Some(name) = self.table.get("name").cloned() else {
            let remedy = "add name = \"example.org\" below [[realm]]";
            self.reader
                .error(origin, "realm.name", "is missing", remedy);
            // The rest is read all the same, for its errors.
            let stand_in = Realm::try_from("unnamed".to_owned()).ok()?;
            self.contents(stand_in, origin, default);
            return None;
        };
        let wanted = "1 to 127 bytes of text without '/', '\"' or control characters";
        let name = self.reader.entry::<Realm>("realm.name", &name, wanted)?;
        Some(self.contents(name, origin, default))
    }

    fn contents(&mut self, name: Realm, origin: &Origin, default: &RealmDocument) -> ConfigRealm {
        let document = self.document(default);
        if let Err(problems) = document.validate() {
            for problem in problems {
                let (key, range) = problem.split_once(": ").unwrap_or(("document", &problem));
                let origin = self
                    .table
                    .get(key)
                    .map_or(origin, |item| &item.origin)
                    .clone();
                let remedy = format!("write {range}");
                self.reader
                    .error(&origin, &format!("realm.{key}"), "is out of range", remedy);
            }
        }
        let users = self.users(&name);
        let secrets = self.secrets(&name);
        let hashes = users
            .iter()
            .map(|user| (hash_of(&name, &user.name), user.name.clone()));
        ConfigRealm {
            userhashes: hashes.collect(),
            name,
            document,
            users,
            secrets,
        }
    }

    fn reject_unknown(&mut self) {
        let unknown: Vec<_> = self
            .table
            .iter()
            .filter(|(key, _)| !REALM_KEYS.contains(&key.as_str()))
            .map(|(key, item)| (key.clone(), item.origin.clone()))
            .collect();
        for (key, origin) in unknown {
            let remedy = remedy_for_unknown(&key, REALM_KEYS.iter().copied());
            self.reader
                .error(&origin, &format!("realm.{key}"), "unknown key", remedy);
        }
    }

    fn document(&mut self, default: &RealmDocument) -> RealmDocument {
        RealmDocument {
            max_sessions: self.limit("max_sessions", None),
            max_sessions_per_user: self
                .limit("max_sessions_per_user", default.max_sessions_per_user),
            max_rate_bps: self.rate("max_rate_bps"),
            max_user_rate_bps: self.rate("max_user_rate_bps"),
            max_realm_rate_bps: self.rate("max_realm_rate_bps"),
            max_new_peers_per_sec: self.limit("max_new_peers_per_sec", None),
            max_user_new_peers_per_sec: self.limit("max_user_new_peers_per_sec", None),
            max_realm_new_peers_per_sec: self.limit("max_realm_new_peers_per_sec", None),
            default_lifetime_secs: self
                .secs("default_lifetime_secs", default.default_lifetime_secs),
            max_lifetime_secs: self.secs("max_lifetime_secs", default.max_lifetime_secs),
            allowed_peers: self.ranges("allowed_peers"),
            denied_peers: self.ranges("denied_peers"),
            origins: self.origins(),
            server_names: self.server_names(),
            rest_separator: self.separator().unwrap_or(default.rest_separator),
            password_algorithms: self.password_algorithms(),
            username_anonymity: self.flag("username_anonymity").unwrap_or(false),
            tcp_relay: self.flag("tcp_relay"),
            revoke_on_user_removal: self.flag("revoke_on_user_removal").unwrap_or(false),
            revoke_on_password_change: self.flag("revoke_on_password_change").unwrap_or(false),
            revoke_on_secret_removal: self.flag("revoke_on_secret_removal").unwrap_or(false),
            revoke_on_credential_expiry: self.flag("revoke_on_credential_expiry").unwrap_or(false),
            new_sessions_without_store: self.without_store().unwrap_or_default(),
            note: self.note(),
            extra: default.extra.clone(),
        }
    }

    fn wrong(&mut self, key: &str, item: &Item, problem: &str, remedy: &str) {
        self.reader
            .error(&item.origin, &format!("realm.{key}"), problem, remedy);
    }

    /// A count, or `"unlimited"`.
    fn limit(&mut self, key: &str, default: Option<u32>) -> Option<u32> {
        let Some(item) = self.table.get(key).cloned() else {
            return default;
        };
        match &item.value {
            Value::Text(text) if text == "unlimited" => return None,
            Value::Integer(number) => {
                if let Some(limit) = u32::try_from(*number).ok().filter(|limit| *limit > 0) {
                    return Some(limit);
                }
            }
            _ => {}
        }
        let remedy = "write a number from 1 to 4294967295, or \"unlimited\"";
        self.wrong(key, &item, "is no limit", remedy);
        default
    }

    fn rate(&mut self, key: &str) -> Option<u64> {
        let item = self.table.get(key).cloned()?;
        let rate = match &item.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) => units::parse_number(text),
            _ => None,
        };
        if rate.is_none() {
            let remedy = "write bits per second, as in 2000000 or \"2M\"";
            self.wrong(key, &item, "is no rate", remedy);
        }
        rate
    }

    fn secs(&mut self, key: &str, default: u32) -> u32 {
        let Some(item) = self.table.get(key).cloned() else {
            return default;
        };
        let secs = match &item.value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        if secs.is_none() {
            self.wrong(
                key,
                &item,
                "is no number of seconds",
                "write seconds, as in 600",
            );
        }
        secs.unwrap_or(default)
    }

    fn ranges(&mut self, key: &str) -> Vec<IpRange> {
        let Some(item) = self.table.get(key).cloned() else {
            return Vec::new();
        };
        let key = format!("realm.{key}");
        let Value::List(items) = &item.value else {
            return self.reader.entry(&key, &item, RANGE).into_iter().collect();
        };
        items
            .iter()
            .filter_map(|item| self.reader.entry(&key, item, RANGE))
            .collect()
    }

    fn server_names(&mut self) -> Vec<String> {
        let Some(item) = self.table.get("server_names").cloned() else {
            return Vec::new();
        };
        let items = match item.value {
            Value::List(items) => items,
            _ => vec![item],
        };
        let form = "a host name, as in \"turn.example.org\"";
        items
            .iter()
            .filter_map(|item| {
                self.reader
                    .entry::<String>("realm.server_names", item, form)
            })
            .collect()
    }

    fn origins(&mut self) -> Vec<String> {
        const FORM: &str = "scheme://host or scheme://host:port, as in \"https://app.example.org\"";
        let Some(item) = self.table.get("origins").cloned() else {
            return Vec::new();
        };
        let items = match item.value {
            Value::List(items) => items,
            _ => vec![item],
        };
        let origins = items
            .iter()
            .filter_map(|item| self.reader.entry::<WebOrigin>("realm.origins", item, FORM));
        origins.map(|origin| origin.to_string()).collect()
    }

    fn password_algorithms(&mut self) -> Vec<PasswordAlgorithm> {
        const KEY: &str = "realm.password_algorithms";
        const FORM: &str = "\"md5\" or \"sha-256\"";
        let Some(item) = self.table.get("password_algorithms").cloned() else {
            return Vec::new();
        };
        let items = match item.value {
            Value::List(items) => items,
            _ => vec![item],
        };
        let algorithms = items.iter();
        algorithms
            .filter_map(|item| self.reader.entry(KEY, item, FORM))
            .collect()
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        let item = self.table.get(key).cloned()?;
        match item.value {
            Value::Boolean(flag) => Some(flag),
            _ => {
                self.wrong(
                    key,
                    &item,
                    "is neither true nor false",
                    "write true or false",
                );
                None
            }
        }
    }

    fn without_store(&mut self) -> Option<WithoutStore> {
        const KEY: &str = "realm.new_sessions_without_store";
        let item = self.table.get("new_sessions_without_store").cloned()?;
        self.reader.entry(KEY, &item, "\"cached\" or \"refuse\"")
    }

    fn separator(&mut self) -> Option<char> {
        let item = self.table.get("rest_separator").cloned()?;
        self.reader.entry(
            "realm.rest_separator",
            &item,
            "one punctuation character, usually \":\"",
        )
    }

    fn note(&mut self) -> String {
        let Some(item) = self.table.get("note").cloned() else {
            return String::new();
        };
        self.reader
            .entry("realm.note", &item, "text in quotes")
            .unwrap_or_default()
    }

    fn users(&mut self, realm: &Realm) -> Vec<ConfigUser> {
        const FORM: &str = "write users = [{ name = \"alice\", password = \"...\" }]";
        let Some(item) = self.table.get("users").cloned() else {
            return Vec::new();
        };
        let Value::List(items) = item.value else {
            self.wrong("users", &item, "is no list", FORM);
            return Vec::new();
        };
        let mut users: Vec<ConfigUser> = Vec::new();
        for item in items {
            let Value::Table(table) = item.value else {
                self.wrong("users", &item, "has an entry that is no table", FORM);
                continue;
            };
            let Some(user) = self.user(realm, &table, &item.origin) else {
                continue;
            };
            if users.iter().any(|other| other.name == user.name) {
                let problem = format!("{} appears twice", shared::display_safe(&user.name));
                self.reader.error(
                    &item.origin,
                    "realm.users.name",
                    problem,
                    "keep one of them",
                );
            }
            users.push(user);
        }
        users
    }

    fn user(
        &mut self,
        realm: &Realm,
        table: &BTreeMap<String, Item>,
        origin: &Origin,
    ) -> Option<ConfigUser> {
        for (key, item) in table
            .iter()
            .filter(|(key, _)| !USER_KEYS.contains(&key.as_str()))
        {
            let remedy = remedy_for_unknown(key, USER_KEYS.iter().copied());
            let key = format!("realm.users.{key}");
            self.reader.error(&item.origin, &key, "unknown key", remedy);
        }
        let Some(name) = table.get("name") else {
            let remedy = "add name = \"alice\"";
            self.reader
                .error(origin, "realm.users.name", "is missing", remedy);
            return None;
        };
        let wanted = "1 to 508 bytes of text in quotes";
        let given = self
            .reader
            .entry::<Username>("realm.users.name", name, wanted)?;
        // As clients send it (RFC 8489 §14.3).
        let prepared = opaque_string(given.as_str()).map(|name| name.parse::<Username>());
        let Ok(Ok(name)) = prepared else {
            let problem = "has a control, invisible or private character";
            let remedy = "choose another name";
            self.reader
                .error(&name.origin, "realm.users.name", problem, remedy);
            return None;
        };
        let keys = match (table.get("password"), table.get("key")) {
            (Some(password), None) => self.keys_of_password(realm, &name, password),
            (None, Some(key)) => {
                let key = self.key_in_hex(key);
                key.map(|key| UserKeys::coturns(Secret::new(key)))
            }
            _ => {
                let remedy = "give each user either password or key (32 hex digits)";
                self.reader.error(
                    origin,
                    "realm.users",
                    "needs one of password and key",
                    remedy,
                );
                None
            }
        }?;
        Some(ConfigUser {
            name: name.as_str().to_owned(),
            keys,
        })
    }

    fn keys_of_password(
        &mut self,
        realm: &Realm,
        name: &Username,
        item: &Item,
    ) -> Option<UserKeys> {
        const KEY: &str = "realm.users.password";
        let Value::Text(password) = &item.value else {
            self.reader
                .error(&item.origin, KEY, "is no text", "write it in quotes");
            return None;
        };
        if password.is_empty() || password.len() > Username::MAX_LEN {
            let problem = "is empty or longer than 508 bytes";
            self.reader
                .error(&item.origin, KEY, problem, "choose another one");
            return None;
        }
        if is_sample(password) {
            self.sample(
                &item.origin,
                KEY,
                "is a password out of samples and manuals",
            );
        } else if password.len() < SHORT_PASSWORD {
            self.reader.warnings.push(format!(
                "{}: the password of user {name} has fewer than {SHORT_PASSWORD} characters and \
                 can be guessed from one captured packet",
                item.origin
            ));
        }
        if let Err(error) = opaque_string(password) {
            let problem = format!("has {error}");
            self.reader
                .error(&item.origin, KEY, problem, "choose another one");
        }
        Some(UserKeys::derive(name.as_str(), realm.as_str(), password))
    }

    /// Refuses a sample, or tells of it.
    fn sample(&mut self, origin: &Origin, key: &str, problem: &str) {
        let remedy = "choose another one, as `openssl rand -hex 32` makes";
        match self.weak {
            WeakCredentials::Refuse => self.reader.error(origin, key, problem, remedy),
            WeakCredentials::Warn => {
                let warning =
                    format!("{origin}: {key}: {problem}, which everybody tries: {remedy}");
                self.reader.warnings.push(warning);
            }
        }
    }

    fn key_in_hex(&mut self, item: &Item) -> Option<[u8; 16]> {
        let key = match &item.value {
            Value::Text(text) => parse_hex(text.trim_start_matches("0x")),
            _ => None,
        };
        if key.is_none() {
            let remedy = "write 32 hex digits, as turnadmin -k prints them";
            self.reader
                .error(&item.origin, "realm.users.key", "is no key", remedy);
        }
        key
    }

    fn secrets(&mut self, realm: &Realm) -> Vec<Secret<String>> {
        let Some(item) = self.table.get("secrets").cloned() else {
            return Vec::new();
        };
        let items = match item.value {
            Value::List(items) => items,
            Value::Text(_) => vec![item],
            _ => {
                self.wrong("secrets", &item, "is no list", "write secrets = [\"...\"]");
                return Vec::new();
            }
        };
        items
            .iter()
            .filter_map(|item| self.secret(realm, item))
            .collect()
    }

    fn secret(&mut self, realm: &Realm, item: &Item) -> Option<Secret<String>> {
        let remedy = "write 16 to 256 printable ASCII characters, as `openssl rand -hex 32` makes";
        let Value::Text(secret) = &item.value else {
            self.wrong("secrets", item, "has an entry that is no text", remedy);
            return None;
        };
        let printable = secret.bytes().all(|byte| byte.is_ascii_graphic());
        if secret.is_empty() || secret.len() > 256 || !printable {
            self.wrong("secrets", item, "has an entry that is no secret", remedy);
            return None;
        }
        if is_sample(secret) {
            let problem = "has a secret out of samples and manuals";
            self.sample(&item.origin, "realm.secrets", problem);
        } else if secret.len() < SHORT_SECRET {
            self.reader.warnings.push(format!(
                "{}: a secret of realm {realm} has fewer than {SHORT_SECRET} characters; make one \
                 with `openssl rand -hex 32`",
                item.origin
            ));
        }
        Some(Secret::new(secret.clone()))
    }
}

/// What becomes of samples.
pub(super) fn weak_credentials(reader: &mut Reader<'_>) -> WeakCredentials {
    const KEY: &str = "weak_credentials";
    match reader.text(KEY) {
        None => WeakCredentials::Refuse,
        Some((text, _)) if text == "refuse" => WeakCredentials::Refuse,
        Some((text, _)) if text == "warn" => WeakCredentials::Warn,
        Some((_, origin)) => {
            let remedy = "write \"refuse\" or \"warn\"";
            reader.error(&origin, KEY, "is neither", remedy);
            WeakCredentials::Refuse
        }
    }
}

fn is_sample(text: &str) -> bool {
    SAMPLES
        .iter()
        .any(|sample| sample.eq_ignore_ascii_case(text))
}
