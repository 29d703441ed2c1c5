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
    let per_user = all.number("user-quota", COUNT).filter(is_set);
    set_quota(all, "max_sessions_per_user", per_user);
    let of_realm = all.number("total-quota", COUNT).filter(is_set);
    let rate = all.number("max-bps", BYTES).filter(is_set);
    if let Some((bytes, origin)) = rate {
        all.set_of_realm("max_rate_bps", origin, Value::Integer(8 * bytes));
    }
    let capacity = all.number("bps-capacity", BYTES).filter(is_set);
    let places = capacity.and_then(|capacity| places(all, capacity, rate));
    let fewest = [of_realm, places].into_iter().flatten();
    set_quota(
        all,
        "max_sessions",
        fewest.min_by_key(|(number, _)| *number),
    );
    rate_of_errors(all);
}

/// A number and where it stands.
type Number<'a> = (i64, &'a Origin);

/// 0 is no limit.
fn is_set(number: &Number<'_>) -> bool {
    number.0 > 0
}

/// As coturn has it where there is none; relayd alone would say 12 per user.
fn set_quota(all: &mut Translation<'_>, key: &str, quota: Option<Number<'_>>) {
    match quota {
        Some((number, origin)) => all.set_of_realm(key, origin, Value::Integer(number)),
        None => all.set_of_realm(key, &Origin::Default, Value::Text("unlimited".to_owned())),
    }
}

/// How many sessions fit into the capacity. coturn takes `max-bps` of it for each, for the last one what is
/// left, and refuses the next (486); what is relayed is bounded too.
fn places<'a>(
    all: &mut Translation<'_>,
    (capacity, origin): Number<'a>,
    rate: Option<Number<'_>>,
) -> Option<Number<'a>> {
    let bits = Value::Text((8 * capacity).to_string());
    all.set("limits.max_rate_bps", origin, bits);
    let Some((rate, _)) = rate else {
        all.tell_all(format!(
            "{origin}: bps-capacity: counts for nothing in coturn without max-bps; relayd bounds what the node relays"
        ));
        return None;
    };
    // Rounded up.
    let places = (capacity - 1) / rate + 1;
    all.tell_all(format!(
        "{origin}: bps-capacity: {places} sessions of max-bps each fit into it, and the next is refused (486); \
         realms of the database have max_sessions of their own"
    ));
    Some((places.min(*COUNT.end()), origin))
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
