//! What clients log in with.

/// What a client logs in with.
#[derive(Clone, Debug)]
pub struct Login {
    /// USERNAME.
    pub username: String,
    /// The password, stored or derived from a secret.
    pub password: String,
}

impl Login {
    /// A login.
    #[must_use]
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    /// A time-limited login under a realm's shared secret.
    #[must_use]
    pub fn rest(username: &str, secret: &str) -> Self {
        let password = turn_proto::auth::rest::password(secret.as_bytes(), username);
        Self {
            username: username.to_owned(),
            password,
        }
    }
}
