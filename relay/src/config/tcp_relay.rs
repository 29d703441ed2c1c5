//! Settings of TCP relaying (RFC 6062).

use std::time::Duration;

use turn_proto::policy::TcpRelaySettings;

use super::source::Reader;

/// What RFC 6062 §5.2 wants of both waits, in seconds.
const STANDARD: u64 = 30;

/// Reads them; waits below the standard's are told of.
pub(super) fn resolve(reader: &mut Reader<'_>) -> TcpRelaySettings {
    TcpRelaySettings {
        enabled: reader.boolean("tcp_relay").unwrap_or(false),
        connect_timeout: wait(reader, "tcp_connect_timeout"),
        bind_timeout: wait(reader, "tcp_bind_timeout"),
    }
}

fn wait(reader: &mut Reader<'_>, name: &str) -> Duration {
    let found = reader.duration(name, 1..=300);
    let found = found.unwrap_or(Duration::from_secs(STANDARD));
    if found.as_secs() < STANDARD {
        reader.warnings.push(format!(
            "{name}: {} s is below the {STANDARD} s of RFC 6062; peers and clients may need them",
            found.as_secs()
        ));
    }
    found
}
