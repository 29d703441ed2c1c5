//! A drain in words, the same in the console and on the command line.

use std::time::Duration;

use shared::api::{DrainView, NodeView};
use shared::units::{age, grouped};

/// What both label the mode with that refuses refreshes.
pub(crate) const ENDS_CALLS: &str = "ends calls";

fn in_time(secs: u64) -> String {
    age(Duration::from_secs(secs))
}

/// When the node will be empty, in a word for a table; `None`: that is unknown.
pub(crate) fn short(drain: &DrainView) -> Option<String> {
    let estimate = &drain.estimate;
    match (estimate.empty_secs, estimate.latest_secs) {
        (Some(secs), _) => Some(format!("~{}", in_time(secs))),
        (None, Some(secs)) => Some(format!("<{}", in_time(secs))),
        (None, None) => None,
    }
}

/// When the node will be empty, and how that is known.
pub(crate) fn estimate(drain: &DrainView) -> String {
    let estimate = &drain.estimate;
    if let Some(secs) = estimate
        .empty_secs
        .filter(|_| estimate.empty_secs != estimate.latest_secs)
    {
        return format!("empty in about {}", in_time(secs));
    }
    let rest = match estimate.latest_secs {
        Some(secs) => format!("empty in {} at the latest", in_time(secs)),
        None => "the end unknown".to_owned(),
    };
    let parts = [
        (estimate.most_secs, "nine of ten"),
        (estimate.half_secs, "half"),
    ];
    let known = parts
        .iter()
        .find_map(|(secs, who)| Some((secs.as_ref()?, who)));
    match known {
        Some((secs, who)) => format!("{who} gone in about {}, {rest}", in_time(*secs)),
        None if estimate.latest_secs.is_some() => rest,
        None => format!(
            "the end unknown: {} sessions have ended here",
            grouped(estimate.observed)
        ),
    }
}

/// How far a drain is: what is left of what, and until when.
pub(crate) fn progress(node: &NodeView, drain: &DrainView) -> String {
    format!(
        "{} of {} sessions left, {}",
        grouped(node.sessions),
        grouped(drain.sessions_at_start),
        estimate(drain)
    )
}

/// What happens to sessions, in words for whoever confirms it.
pub(crate) fn consequence(deadline: Option<Duration>, refuse_refresh: bool) -> String {
    let mut text = "It takes no new sessions".to_owned();
    text.push_str(match refuse_refresh {
        true => ", and prolongs none: calls end with their lifetimes",
        false => "; those that it has go on",
    });
    match deadline {
        Some(after) => format!("{text}. What is left after {} is ended.", age(after)),
        None => format!("{text}."),
    }
}

#[cfg(test)]
mod tests {
    use shared::api::DrainEstimate;

    use super::*;

    fn of(half: Option<u64>, empty: Option<u64>, latest: Option<u64>) -> DrainView {
        DrainView {
            estimate: DrainEstimate {
                half_secs: half,
                most_secs: None,
                empty_secs: empty,
                latest_secs: latest,
                observed: 3,
            },
            ..DrainView::default()
        }
    }

    #[test]
    fn what_is_unknown_is_said_to_be() {
        assert_eq!(short(&of(None, None, None)), None);
        assert_eq!(
            estimate(&of(None, None, None)),
            "the end unknown: 3 sessions have ended here"
        );
        assert_eq!(
            estimate(&of(Some(60), None, None)),
            "half gone in about 1:00, the end unknown"
        );
    }

    #[test]
    fn what_is_certain_is_told_apart_from_what_is_likely() {
        let likely = of(Some(60), Some(600), Some(3600));
        assert_eq!(estimate(&likely), "empty in about 10:00");
        assert_eq!(short(&likely).unwrap(), "~10:00");
        let certain = of(Some(60), Some(3600), Some(3600));
        assert_eq!(
            estimate(&certain),
            "half gone in about 1:00, empty in 1h00 at the latest"
        );
        assert_eq!(short(&of(None, None, Some(3600))).unwrap(), "<1h00");
    }
}
