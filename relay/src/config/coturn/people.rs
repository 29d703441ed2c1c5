//! The realm, its users and its secrets.

use shared::Username;

use super::translation::{Translation, Tree, item, text};
use crate::config::error::Origin;
use crate::config::file::{Item, Value};

pub(super) fn translate(all: &mut Translation<'_>) {
    let origin = Origin::Default;
    // Files that ran for years start; each weak credential is told of.
    all.set("weak_credentials", &origin, Value::Text("warn".to_owned()));
    realm(all);
    let secrets = secrets(all);
    let has_secret_mode = !secrets.is_empty() || all.is_on("use-auth-secret");
    if let Some(first) = secrets.first() {
        let origin = first.origin.clone();
        all.set_of_realm("secrets", &origin, Value::List(secrets));
    }
    let users = users(all, has_secret_mode);
    let has_users = !users.is_empty();
    if let Some(first) = users.first() {
        let origin = first.origin.clone();
        all.set_of_realm("users", &origin, Value::List(users));
    }
    // coturn knows either the one or the other, wherever they are kept; the setting tells of users that it
    // refuses.
    let kinds = if has_secret_mode { "secrets" } else { "users" };
    let modes = ["use-auth-secret", "static-auth-secret"].map(|mode| all.last(mode));
    let mode = modes.into_iter().flatten().next();
    let mode = mode.map_or(origin.clone(), |given| given.origin.clone());
    all.set("credentials", &mode, Value::Text(kinds.to_owned()));
    all.copy_switch("oauth", "oauth");
    all.copy_text("server-name", "server_name");
    let has_mechanism = has_users || has_secret_mode || all.is_on("lt-cred-mech");
    let is_open = !has_mechanism && !all.is_on("oauth") && !all.is_on("stun-only");
    if let Some(given) = all.last("no-auth").filter(|_| all.is_on("no-auth")) {
        let origin = given.origin.clone();
        if has_mechanism {
            let problem = "and credentials (lt-cred-mech, user or secrets) are both given";
            all.refuse(given, problem, "keep one of them");
        }
        all.set("open_relay", &origin, Value::Boolean(true));
    } else if is_open {
        // Its default where nothing says otherwise.
        all.tell_all(
            "lt-cred-mech: is missing, and so are users and secrets: coturn would be an open relay; add lt-cred-mech \
             with user=NAME:PASSWORD (or users in the database), or static-auth-secret",
        );
        all.set("open_relay", &origin, Value::Boolean(true));
    }
    nonces(all);
    // With coturn the origins of its database always count.
    let has_origins = !all.is_on("no-dynamic-realms");
    all.set("origin_realms", &origin, Value::Boolean(has_origins));
}

fn realm(all: &mut Translation<'_>) {
    let Some((name, origin)) = all.text("realm") else {
        let origin = Origin::Default;
        all.tell_all(
            "realm: is not given, so it is \"relayd\": keys of users (0x...) and of a database hold for one realm \
             only; write realm=NAME",
        );
        all.set_of_realm("name", &origin, Value::Text("relayd".to_owned()));
        return;
    };
    all.set("default_realm", origin, Value::Text(name.to_owned()));
    all.set_of_realm("name", origin, Value::Text(name.to_owned()));
}

fn secrets(all: &mut Translation<'_>) -> Vec<Item> {
    let mut secrets = Vec::new();
    for given in all.all("static-auth-secret") {
        match given.value.as_deref().filter(|value| !value.is_empty()) {
            Some(secret) => secrets.push(text(&given.origin, secret)),
            None => all.refuse(given, "has no value", "write a secret behind ="),
        }
    }
    if let Some((separator, origin)) = all.text("rest-api-separator") {
        all.set_of_realm("rest_separator", origin, Value::Text(separator.to_owned()));
    }
    secrets
}

/// `name:password` or `name:0xKEY`; of two with one name the last counts. Where coturn does not look at them
/// (`is_idle`), what is no user keeps nobody from serving.
fn users(all: &mut Translation<'_>, is_idle: bool) -> Vec<Item> {
    let mut users: Vec<(String, Item)> = Vec::new();
    for given in all.all("user") {
        let value = given.value.as_deref().unwrap_or_default();
        let named = value.split_once(':').filter(|(name, _)| !name.is_empty());
        if is_idle && !named.is_some_and(|(_, password)| is_password_or_key(password)) {
            all.tell(
                given,
                "is no user and left out: with use-auth-secret only secrets count",
            );
            continue;
        }
        let Some((name, password)) = named else {
            all.refuse(given, "names no user", "write NAME:PASSWORD or NAME:0xKEY");
            continue;
        };
        let field = if password.starts_with("0x") {
            "key"
        } else {
            "password"
        };
        let mut table = Tree::new();
        table.insert("name".to_owned(), text(&given.origin, name));
        table.insert(field.to_owned(), text(&given.origin, password));
        users.retain(|(known, _)| known != name);
        users.push((name.to_owned(), item(&given.origin, Value::Table(table))));
    }
    users.into_iter().map(|(_, user)| user).collect()
}

fn is_password_or_key(text: &str) -> bool {
    match text.strip_prefix("0x") {
        Some(key) => key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit()),
        None => (1..=Username::MAX_LEN).contains(&text.len()),
    }
}

/// 0 means for ever in coturn; ours end after an hour at most (RFC 8656 §5).
fn nonces(all: &mut Translation<'_>) {
    let Some(given) = all.last("stale-nonce") else {
        return;
    };
    // Alone it is a switch, and so are its words.
    let words = ["on", "yes", "true", "t"];
    if given
        .value
        .as_deref()
        .is_none_or(|value| words.contains(&value))
    {
        all.set("nonce_lifetime", &given.origin, Value::Integer(600));
        return;
    }
    let Some((secs, origin)) = all.number("stale-nonce", 0..=i64::MAX) else {
        return;
    };
    let lifetime = if secs == 0 { 3600 } else { secs.min(3600) };
    if secs != lifetime {
        all.tell(given, "nonces are good for an hour at most (RFC 8656 §5)");
    }
    all.set("nonce_lifetime", origin, Value::Integer(lifetime));
}
