//! How session records and coturn-less fields are written: MessagePack and JSON, with versions.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{SessionRecord, StoreError};

/// A session record as MessagePack without field names, which would take more than the values. A
/// field more means a version more.
pub(crate) fn encode_session(record: &SessionRecord) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec(record).map_err(|error| unreadable(record.id.to_string(), error))
}

/// Reads a session record of this version or the one before; `None` for other versions.
pub(crate) fn decode_session(bytes: &[u8]) -> Option<SessionRecord> {
    let record: SessionRecord = rmp_serde::from_slice(bytes).ok()?;
    (SessionRecord::VERSION.saturating_sub(1)..=SessionRecord::VERSION)
        .contains(&record.v)
        .then_some(record)
}

/// A record of ours as JSON.
pub(crate) fn to_json(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| unreadable("record", error))
}

/// Reads JSON back; `key` names the record in the error.
pub(crate) fn from_json<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable(key, error))
}

/// Names what is unreadable, and why.
pub(crate) fn unreadable(key: impl Into<String>, reason: impl ToString) -> StoreError {
    StoreError::Corrupt {
        key: key.into(),
        reason: reason.to_string(),
    }
}

/// The wall clock in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What a secret's label is filed under; tells nothing that the value beside it does not.
pub(crate) fn secret_fingerprint(value: &str) -> [u8; 16] {
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&Sha256::digest(value.as_bytes())[..16]);
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_version_before_are_read() {
        let record = SessionRecord {
            v: 2,
            id: shared::SessionId::new(1, 2),
            epoch: 3,
            client: "203.0.113.7:54321".parse().unwrap(),
            server: "192.0.2.1:3478".parse().unwrap(),
            transport: shared::Transport::Udp,
            realm: "example.org".parse().unwrap(),
            username: "alice".parse().unwrap(),
            secret_id: None,
            credential_expiry: None,
            relay_local: "192.0.2.1:50000".parse().unwrap(),
            relay_external: "192.0.2.1:50000".parse().unwrap(),
            created_at_ms: 4,
            expires_at_ms: 5,
            lifetime_secs: 600,
            permissions: Vec::new(),
            channels: Vec::new(),
            totals: [0; 4],
            second_relay: None,
            first_expires_at_ms: None,
            algorithm: 0,
            user_rate_bps: None,
            token: None,
            mobility: None,
            key_id: 0,
        };
        let mut bytes = encode_session(&record).unwrap();
        assert_eq!(decode_session(&bytes).as_ref(), Some(&record));
        // Without what version 3 added: the last six of 25 elements.
        let added = bytes.split_off(bytes.len() - 6);
        assert_eq!(
            (bytes[..3].to_vec(), added),
            (vec![0xdc, 0, 25], vec![0xc0, 0, 0xc0, 0xc0, 0xc0, 0])
        );
        bytes[2] = 19;
        assert_eq!(decode_session(&bytes), Some(record));
    }
}
