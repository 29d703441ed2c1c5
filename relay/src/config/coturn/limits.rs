//! Quotas and rates, with coturn's meaning: bytes become bits, and every node counts for itself.

use super::translation::Translation;
use crate::config::error::Origin;
use crate::config::file::Value;

/// What fits into our counts.
const COUNT: std::ops::RangeInclusive<i64> = 0..=4_294_967_295;
/// Rates whose eightfold fits.
const BYTES: std::ops::RangeInclusive<i64> = 0..=(i64::MAX / 8);

pub(super) fn translate(all: &mut Translation<'_>) {
    let origin = Origin::Default;
    all.set("limits.reach", &origin, Value::Text("node".to_owned()));
    let quotas = [
        ("user-quota", "max_sessions_per_user"),
        ("total-quota", "max_sessions"),
    ];
    for (name, key) in quotas {
        match all.number(name, COUNT) {
            Some((number, origin)) if number > 0 => {
                all.set_of_realm(key, origin, Value::Integer(number));
            }
            // As coturn has it; relayd alone would say 12 per user.
            _ => all.set_of_realm(key, &origin, Value::Text("unlimited".to_owned())),
        }
    }
    if let Some((bytes, origin)) = all.number("max-bps", BYTES)
        && bytes > 0
    {
        all.set_of_realm("max_rate_bps", origin, Value::Integer(8 * bytes));
    }
    if let Some((bytes, origin)) = all.number("bps-capacity", BYTES)
        && bytes > 0
    {
        all.set(
            "limits.max_rate_bps",
            origin,
            Value::Text((8 * bytes).to_string()),
        );
        all.tell_all(format!(
            "{origin}: bps-capacity: bounds what the node relays; coturn counts what its sessions might relay and \
             refuses more (486)"
        ));
    }
    rate_of_errors(all);
}

/// coturn answers ten per second where it is asked to bound them.
fn rate_of_errors(all: &mut Translation<'_>) {
    let is_on = all.is_on("unauthorized-ratelimit");
    let key = "limits.unauthorized_ratelimit_rps";
    let given = all.number("unauthorized-ratelimit-rps", 1..=1_000_000);
    let switch = all.last("unauthorized-ratelimit");
    match (switch, given) {
        (Some(switch), _) if !is_on => all.set(key, &switch.origin, Value::Integer(0)),
        (_, Some((rate, origin))) => all.set(key, origin, Value::Integer(rate)),
        (Some(switch), None) => all.set(key, &switch.origin, Value::Integer(10)),
        (None, None) => {}
    }
}
