//! coturn's connection string of Redis: `ip=127.0.0.1 dbname=2 password=turn port=6379`.

use shared::Secret;

/// What a connection string says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Connection {
    /// Name or address, without brackets.
    pub(in crate::config) host: String,
    /// The port.
    pub(in crate::config) port: u16,
    /// The number of the database.
    pub(in crate::config) database: u32,
    /// The ACL user.
    pub(in crate::config) username: Option<String>,
    /// The password.
    pub(in crate::config) password: Option<Secret<String>>,
    /// Whether TLS is spoken.
    pub(in crate::config) tls: bool,
    /// File of the authority to trust.
    pub(in crate::config) ca_file: Option<String>,
    /// Keys that relayd has no use for, as they were written.
    pub(in crate::config) unused: Vec<String>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            database: 0,
            username: None,
            password: None,
            tls: false,
            ca_file: None,
            unused: Vec::new(),
        }
    }
}

impl Connection {
    /// Reads one. Values cannot hold blanks; nothing is quoted.
    ///
    /// # Errors
    /// What is wrong, never with a value in it: it may be the password.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, String> {
        let mut connection = Self::default();
        for word in text.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                return Err(
                    "has a word without =: write key=value pairs with blanks between".to_owned(),
                );
            };
            connection.take(key, value)?;
        }
        Ok(connection)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = || value.to_owned();
        match key.to_ascii_lowercase().as_str() {
            "host" | "ip" | "addr" | "ipaddr" | "hostaddr" => {
                self.host = value
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned();
                if self.host.is_empty() {
                    return Err(format!("{key} names no host"));
                }
            }
            "dbname" | "db" | "database" => {
                self.database = value.parse().map_err(|_| format!("{key} is no number"))?;
            }
            "user" | "uname" | "name" | "username" => self.username = Some(text()),
            "password" | "pwd" | "passwd" | "secret" => self.password = Some(Secret::new(text())),
            "port" | "p" => {
                let port = value.parse().ok().filter(|port| *port != 0);
                self.port = port.ok_or_else(|| format!("{key} is no port"))?;
            }
            "tls" | "ssl" => {
                self.tls = matches!(
                    value.to_ascii_lowercase().as_str(),
                    "true" | "1" | "on" | "yes"
                );
            }
            "ca" | "cacert" | "tls-ca" => self.ca_file = Some(text()),
            "connect_timeout" | "timeout" => {}
            "verify" | "tls-verify" if value == "peer" => {}
            "capath" | "tls-capath" | "cert" | "tls-cert" | "clientkey" | "tls-key" | "sni"
            | "servername" | "tls-sni" | "verify" | "tls-verify" => {
                self.unused.push(key.to_owned());
            }
            _ => {
                let key = shared::display_safe(key);
                return Err(format!("has an unknown key: {key}"));
            }
        }
        Ok(())
    }

    /// As a URL without user and password.
    pub(in crate::config) fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        format!("{scheme}://{host}:{}/{}", self.port, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read() {
        let text = "ip=192.0.2.7 dbname=2 user=turn password=t=rn port=6380 connect_timeout=30 tls=on ca=/a.pem";
        let connection = Connection::parse(text).unwrap();
        assert_eq!(connection.url(), "rediss://192.0.2.7:6380/2");
        assert_eq!(connection.username.as_deref(), Some("turn"));
        assert_eq!(connection.password, Some(Secret::new("t=rn".to_owned())));
        assert_eq!(connection.ca_file.as_deref(), Some("/a.pem"));
        assert_eq!(Connection::parse("").unwrap(), Connection::default());
        let other = Connection::parse("host=::1 db=1 uname=u pwd=p p=1 ssl=0 sni=x").unwrap();
        assert_eq!(
            (other.url().as_str(), other.unused),
            ("redis://[::1]:1/1", vec!["sni".to_owned()])
        );
    }

    #[test]
    fn an_unknown_key_is_named_and_no_value_is() {
        for (text, problem) in [
            ("ip=127.0.0.1 pasword=hunter2", "unknown key: pasword"),
            ("port=hunter2", "port is no port"),
            ("db=hunter2", "db is no number"),
            ("hunter2", "without ="),
        ] {
            let error = Connection::parse(text).unwrap_err();
            assert!(error.contains(problem), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
