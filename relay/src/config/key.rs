//! A setting, and the keys of tables that are none.

use shared::api::Applies;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Dotted, as in the file: `store.url`.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) kind: Kind,
    /// Whether there is a flag; secrets have none, since arguments are visible to everybody.
    pub(super) flag: Flag,
    /// When a change of it applies; [`Applies::File`]: the store cannot override it.
    pub(super) applies: Applies,
    /// For `--help`.
    pub(super) help: &'static str,
}

/// Whether a setting has a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// `--store-url` for `store.url`.
    Yes,
    /// File and environment only.
    No,
}

/// What a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// An integer.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list of texts; flags repeat, the environment separates by commas.
    List,
    /// Names and texts; `name=text` in flags and environment.
    Table,
}

impl Key {
    /// Whether the store may hold a value for it. It may not for what a node must know before it
    /// reaches the store, nor for what decides who may change anything.
    pub(super) fn can_be_overridden(&self) -> bool {
        self.applies != Applies::File
    }

    /// The flag, without dashes.
    pub(super) fn flag_name(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// The variable of the environment.
    pub(super) fn variable(&self) -> String {
        format!(
            "RELAYD_{}",
            self.name.replace('.', "_").to_ascii_uppercase()
        )
    }
}

/// A setting that waits for a restart.
pub(super) const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        name,
        kind,
        flag: Flag::Yes,
        applies: Applies::Restart,
        help,
    }
}

/// A setting that applies at once.
pub(super) const fn live(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        applies: Applies::Live,
        ..key(name, kind, help)
    }
}

/// A setting that the store cannot override.
pub(super) const fn fixed(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        applies: Applies::File,
        ..key(name, kind, help)
    }
}

/// The keys of a `[[realm]]`.
pub(super) const REALM_KEYS: &[&str] = &[
    "name",
    "max_sessions",
    "max_sessions_per_user",
    "max_rate_bps",
    "max_user_rate_bps",
    "max_realm_rate_bps",
    "max_new_peers_per_sec",
    "max_user_new_peers_per_sec",
    "max_realm_new_peers_per_sec",
    "default_lifetime_secs",
    "max_lifetime_secs",
    "allowed_peers",
    "denied_peers",
    "origins",
    "server_names",
    "rest_separator",
    "password_algorithms",
    "username_anonymity",
    "tcp_relay",
    "revoke_on_user_removal",
    "revoke_on_password_change",
    "revoke_on_secret_removal",
    "revoke_on_credential_expiry",
    "new_sessions_without_store",
    "note",
    "users",
    "secrets",
];

/// The keys of an entry of `users` in a `[[realm]]`.
pub(super) const USER_KEYS: &[&str] = &["name", "password", "key"];
