//! `oauth` and `server_name`: third-party authorization.

use serde_json::{Value, json};

use super::OauthConfig;
use super::source::Reader;

pub(super) fn resolve(reader: &mut Reader<'_>) -> OauthConfig {
    let enabled = reader.boolean("oauth").unwrap_or(false);
    let name = reader.text("server_name");
    if let Some((name, origin)) = &name
        && (name.len() > 255 || name.chars().any(char::is_control))
    {
        let remedy = "write at most 255 bytes, as in \"turn.example.org\"";
        reader.error(origin, "server_name", "is no server name", remedy);
    }
    let server_name = name.map(|(name, _)| name).filter(|name| !name.is_empty());
    OauthConfig {
        enabled,
        server_name,
    }
}

pub(super) fn view(oauth: &OauthConfig, key: &str) -> Option<Value> {
    Some(match key {
        "oauth" => json!(oauth.enabled),
        "server_name" => json!(oauth.server_name),
        _ => return None,
    })
}
