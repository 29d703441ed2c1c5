//! How long allocations and what hangs on them last, and which extensions clients may use.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::AllocationConfig;
use super::error::Origin;
use super::source::Reader;

/// What RFC 8656 says, in seconds; below it is legal, and told of.
const DEFAULT_LIFETIME: u64 = 600;
const MAX_LIFETIME: u64 = 3600;
const PERMISSION: u64 = 300;
const CHANNEL: u64 = 600;
const REBIND_GUARD: u64 = 300;
const RESERVATION: u64 = 30;
/// RFC 8656 §5: nonces change at least hourly.
const NONCE: u64 = 3600;

const DAY: RangeInclusive<u64> = 1..=86_400;

/// Durations that are fields of the configuration itself.
pub(super) struct Lifetimes {
    pub(super) nonce: Duration,
    pub(super) permission: Duration,
    pub(super) channel: Duration,
    pub(super) rebind_guard: Duration,
    pub(super) reservation: Duration,
}

pub(super) fn resolve(reader: &mut Reader<'_>) -> AllocationConfig {
    let min_lifetime = reader.duration("min_allocate_lifetime", DAY);
    let default_lifetime = lifetime(reader, "default_allocate_lifetime", DAY, DEFAULT_LIFETIME);
    let max_lifetime = reader.duration("max_allocate_lifetime", DAY);
    let max_lifetime =
        max_lifetime.unwrap_or_else(|| default_lifetime.max(Duration::from_secs(MAX_LIFETIME)));
    if max_lifetime < default_lifetime || min_lifetime.is_some_and(|min| min > default_lifetime) {
        let problem = "does not hold min <= default <= max";
        let remedy = "set min_, default_ and max_allocate_lifetime so that it does";
        reader.error(&Origin::Default, "max_allocate_lifetime", problem, remedy);
    }
    AllocationConfig {
        min_lifetime,
        default_lifetime,
        max_lifetime,
        mobility: reader.boolean("mobility").unwrap_or(false),
        rfc5766_channel_numbers: reader.boolean("rfc5766_channel_numbers").unwrap_or(false),
        fingerprint: reader.boolean("fingerprint").unwrap_or(false),
        udp_relay: reader.boolean("udp_relay").unwrap_or(true),
        stun: reader.boolean("stun").unwrap_or(true),
        turn: reader.boolean("turn").unwrap_or(true),
    }
}

pub(super) fn lifetimes(reader: &mut Reader<'_>) -> Lifetimes {
    let nonce = reader.duration("nonce_lifetime", DAY);
    let nonce = nonce.unwrap_or(Duration::from_secs(NONCE));
    if nonce.as_secs() > NONCE {
        reader
            .warnings
            .push("nonce_lifetime: is cut to an hour (RFC 8656 §5)".to_owned());
    }
    Lifetimes {
        nonce,
        permission: lifetime(reader, "permission_lifetime", 1..=3600, PERMISSION),
        channel: lifetime(reader, "channel_lifetime", 1..=7200, CHANNEL),
        rebind_guard: lifetime(reader, "channel_rebind_guard", 1..=3600, REBIND_GUARD),
        reservation: lifetime(reader, "reservation_lifetime", 1..=3600, RESERVATION),
    }
}

/// A duration; one below what the standard says is told of.
fn lifetime(
    reader: &mut Reader<'_>,
    name: &str,
    secs: RangeInclusive<u64>,
    standard: u64,
) -> Duration {
    let found = reader.duration(name, secs);
    let found = found.unwrap_or(Duration::from_secs(standard));
    if found.as_secs() < standard {
        reader.warnings.push(format!(
            "{name}: {} s is below the {standard} s of RFC 8656; clients may not expect it",
            found.as_secs()
        ));
    }
    found
}

impl Default for AllocationConfig {
    fn default() -> Self {
        Self {
            min_lifetime: None,
            default_lifetime: Duration::from_secs(DEFAULT_LIFETIME),
            max_lifetime: Duration::from_secs(MAX_LIFETIME),
            mobility: false,
            rfc5766_channel_numbers: false,
            fingerprint: false,
            udp_relay: true,
            stun: true,
            turn: true,
        }
    }
}
