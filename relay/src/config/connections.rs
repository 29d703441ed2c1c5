//! `[connections]`: what TCP and TLS clients may take up.

use std::time::Duration;

use super::ConnectionLimits;
use super::source::Reader;

pub(super) fn resolve(reader: &mut Reader<'_>) -> ConnectionLimits {
    let default = ConnectionLimits::default();
    let timeout = |reader: &mut Reader<'_>, name, default: Duration| {
        reader.duration(name, 1..=3600).unwrap_or(default)
    };
    let number = |reader: &mut Reader<'_>, name, range, default: usize| {
        let given = reader.integer(name, range);
        given.map_or(default, |number| usize::try_from(number).unwrap_or(default))
    };
    ConnectionLimits {
        handshake_timeout: timeout(
            reader,
            "connections.handshake_timeout",
            default.handshake_timeout,
        ),
        first_message_timeout: timeout(
            reader,
            "connections.first_message_timeout",
            default.first_message_timeout,
        ),
        max_allocate_timeout: timeout(
            reader,
            "connections.max_allocate_timeout",
            default.max_allocate_timeout,
        ),
        max_per_source: number(
            reader,
            "connections.max_per_source",
            1..=1_000_000,
            default.max_per_source,
        ),
        max: number(reader, "connections.max", 1..=1_000_000, default.max),
        write_queue_bytes: number(
            reader,
            "connections.write_queue_bytes",
            16_384..=16_777_216,
            default.write_queue_bytes,
        ),
        tls_handshakes: number(
            reader,
            "connections.tls_handshakes",
            1..=65_536,
            default.tls_handshakes,
        ),
        dtls_handshakes: number(
            reader,
            "connections.dtls_handshakes",
            1..=65_536,
            default.dtls_handshakes,
        ),
        dtls_handshakes_per_source: number(
            reader,
            "connections.dtls_handshakes_per_source",
            1..=65_536,
            default.dtls_handshakes_per_source,
        ),
    }
}
