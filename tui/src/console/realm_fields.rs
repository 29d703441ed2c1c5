//! The fields of a realm document as forms have them: their texts, what differs, and the way back.

use shared::IpRange;
use shared::api::RealmDocument;
use shared::units::parse_number;

use super::purpose::{RealmBase, RealmDraft};
use crate::widgets::form::Form;

/// Names, labels and units of the fields of a realm document, in the order of the form.
pub(crate) const REALM_FIELDS: [(&str, &str); 24] = [
    ("max_sessions", "over all nodes; empty: no limit"),
    (
        "max_sessions_per_user",
        "per user, over all nodes; empty: no limit",
    ),
    ("max_rate_bps", "bit/s each way, as in 2M; empty: no limit"),
    (
        "max_user_rate_bps",
        "bit/s each way, all sessions of a user",
    ),
    ("max_realm_rate_bps", "bit/s each way, all of the realm"),
    ("max_new_peers_per_sec", "of a session; empty: no limit"),
    ("max_user_new_peers_per_sec", "of a user's, per node"),
    ("max_realm_new_peers_per_sec", "of the realm's, per node"),
    ("default_lifetime_secs", "seconds"),
    ("max_lifetime_secs", "seconds"),
    ("allowed_peers", "addresses, CIDR, first-last"),
    ("denied_peers", "addresses, CIDR, first-last"),
    ("origins", "web origins, separated by commas"),
    ("server_names", "host names (SNI), separated by commas"),
    ("rest_separator", "in time-limited usernames"),
    ("password_algorithms", "sha-256, md5; empty: none offered"),
    ("username_anonymity", "true: names are sent as hashes"),
    ("tcp_relay", "true or false; empty: as each node has it"),
    ("revoke_on_user_removal", "true: calls end with their user"),
    (
        "revoke_on_password_change",
        "true: calls end with a password",
    ),
    (
        "revoke_on_secret_removal",
        "true: calls end with their secret",
    ),
    (
        "revoke_on_credential_expiry",
        "true: calls end with their credential",
    ),
    (
        "new_sessions_without_store",
        "cached or refuse, while the store is away",
    ),
    ("note", "for operators"),
];

/// The text of one field of a document.
pub(crate) fn realm_field(document: &RealmDocument, name: &str) -> String {
    let flag = |on: bool| if on { "true".to_owned() } else { String::new() };
    let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    let ranges = |r: &[IpRange]| {
        r.iter()
            .map(IpRange::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match name {
        "max_sessions" => number(document.max_sessions.map(u64::from)),
        "max_sessions_per_user" => number(document.max_sessions_per_user.map(u64::from)),
        "max_rate_bps" => number(document.max_rate_bps),
        "max_user_rate_bps" => number(document.max_user_rate_bps),
        "max_realm_rate_bps" => number(document.max_realm_rate_bps),
        "max_new_peers_per_sec" => number(document.max_new_peers_per_sec.map(u64::from)),
        "max_user_new_peers_per_sec" => number(document.max_user_new_peers_per_sec.map(u64::from)),
        "max_realm_new_peers_per_sec" => {
            number(document.max_realm_new_peers_per_sec.map(u64::from))
        }
        "default_lifetime_secs" => document.default_lifetime_secs.to_string(),
        "max_lifetime_secs" => document.max_lifetime_secs.to_string(),
        "allowed_peers" => ranges(&document.allowed_peers),
        "denied_peers" => ranges(&document.denied_peers),
        "origins" => document.origins.join(", "),
        "server_names" => document.server_names.join(", "),
        "rest_separator" => document.rest_separator.to_string(),
        "password_algorithms" => {
            let names = document.password_algorithms.iter();
            names
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        }
        "username_anonymity" => flag(document.username_anonymity),
        "revoke_on_user_removal" => flag(document.revoke_on_user_removal),
        "revoke_on_password_change" => flag(document.revoke_on_password_change),
        "revoke_on_secret_removal" => flag(document.revoke_on_secret_removal),
        "revoke_on_credential_expiry" => flag(document.revoke_on_credential_expiry),
        "new_sessions_without_store" => document.new_sessions_without_store.as_str().to_owned(),
        "tcp_relay" => document
            .tcp_relay
            .map_or_else(String::new, |on| on.to_string()),
        _ => document.note.clone(),
    }
}

/// Lines `field: old -> new` between two documents.
pub(crate) fn realm_diff(old: &RealmDocument, new: &RealmDocument) -> Vec<(String, String)> {
    let shown = |text: String| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text
        }
    };
    REALM_FIELDS
        .iter()
        .map(|(name, _)| (*name, realm_field(old, name), realm_field(new, name)))
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| (name.to_owned(), format!("{} -> {}", shown(old), shown(new))))
        .collect()
}

/// Reads the form of a realm over the document it started from.
pub(crate) fn realm_draft(base: &RealmBase, form: &Form) -> Result<RealmDraft, String> {
    let name = match &base.name {
        Some(name) => name.clone(),
        None => form
            .value("name")
            .parse()
            .map_err(|e| format!("name: {e}"))?,
    };
    let mut document = base.document.clone();
    document.max_sessions = optional(form, "max_sessions", small)?;
    document.max_sessions_per_user = optional(form, "max_sessions_per_user", small)?;
    document.max_rate_bps = optional(form, "max_rate_bps", parse_number)?;
    document.max_user_rate_bps = optional(form, "max_user_rate_bps", parse_number)?;
    document.max_realm_rate_bps = optional(form, "max_realm_rate_bps", parse_number)?;
    document.max_new_peers_per_sec = optional(form, "max_new_peers_per_sec", small)?;
    document.max_user_new_peers_per_sec = optional(form, "max_user_new_peers_per_sec", small)?;
    document.max_realm_new_peers_per_sec = optional(form, "max_realm_new_peers_per_sec", small)?;
    document.default_lifetime_secs = required(form, "default_lifetime_secs")?;
    document.max_lifetime_secs = required(form, "max_lifetime_secs")?;
    document.allowed_peers = peers(form, "allowed_peers")?;
    document.denied_peers = peers(form, "denied_peers")?;
    document.origins = words(form, "origins").map(str::to_owned).collect();
    document.server_names = words(form, "server_names").map(str::to_owned).collect();
    let algorithms = words(form, "password_algorithms").map(str::parse);
    document.password_algorithms = algorithms
        .collect::<Result<_, _>>()
        .map_err(|_| "password_algorithms: sha-256 and md5, or nothing")?;
    document.username_anonymity = yes_or_no(form, "username_anonymity")?;
    document.revoke_on_user_removal = yes_or_no(form, "revoke_on_user_removal")?;
    document.revoke_on_password_change = yes_or_no(form, "revoke_on_password_change")?;
    document.revoke_on_secret_removal = yes_or_no(form, "revoke_on_secret_removal")?;
    document.revoke_on_credential_expiry = yes_or_no(form, "revoke_on_credential_expiry")?;
    document.new_sessions_without_store = form
        .value("new_sessions_without_store")
        .parse()
        .map_err(|why| format!("new_sessions_without_store: {why}"))?;
    let mut separator = form.raw("rest_separator").chars();
    document.rest_separator = match (separator.next(), separator.next()) {
        (Some(c), None) => c,
        _ => return Err("rest_separator: exactly one character".to_owned()),
    };
    document.tcp_relay =
        switch(form, "tcp_relay").map_err(|why| format!("{why}; empty: as each node has it"))?;
    document.note = form.value("note").to_owned();
    document.validate().map_err(|errors| errors.join("; "))?;
    Ok(RealmDraft {
        name,
        document,
        reason: form.value("reason").to_owned(),
    })
}

/// The words of a list.
fn words<'f>(form: &'f Form, name: &str) -> impl Iterator<Item = &'f str> {
    let words = form.value(name).split([',', ' ']).map(str::trim);
    words.filter(|word| !word.is_empty())
}

/// `true`, `false` or nothing.
fn switch(form: &Form, name: &str) -> Result<Option<bool>, String> {
    match form.value(name) {
        "" => Ok(None),
        "true" | "yes" | "on" => Ok(Some(true)),
        "false" | "no" | "off" => Ok(Some(false)),
        _ => Err(format!("{name}: true or false")),
    }
}

fn yes_or_no(form: &Form, name: &str) -> Result<bool, String> {
    switch(form, name).map(|on| on.unwrap_or(false))
}

/// A number of 32 bits.
pub(crate) fn small(text: &str) -> Option<u32> {
    parse_number(text).and_then(|n| u32::try_from(n).ok())
}

/// What a field says; `None`: it is empty.
pub(crate) fn optional<T>(
    form: &Form,
    name: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, String> {
    match form.value(name) {
        "" => Ok(None),
        text => parse(text)
            .map(Some)
            .ok_or_else(|| format!("{name}: {text} is not a number")),
    }
}

fn required(form: &Form, name: &str) -> Result<u32, String> {
    let text = form.value(name);
    small(text).ok_or_else(|| format!("{name}: a number of seconds"))
}

fn peers(form: &Form, name: &str) -> Result<Vec<IpRange>, String> {
    let parts = form
        .value(name)
        .split([',', ' '])
        .map(str::trim)
        .filter(|p| !p.is_empty());
    parts
        .map(|p| {
            p.parse()
                .map_err(|_| format!("{name}: {p} is no address, CIDR or first-last"))
        })
        .collect()
}
