//! One condition over time: when it holds, how much it matters, and when it is over.

use shared::api::Severity;

use super::rules::Thresholds;

/// How long a figure must stay down before an alert is over, so that it does not flap.
const CLEAR_AFTER_MS: u64 = 5000;
/// Part of the threshold that a figure must fall below.
const CLEAR_BELOW: f64 = 0.9;

/// A figure against one threshold.
#[derive(Clone, Debug, Default)]
struct Level {
    above_since: Option<u64>,
    below_since: Option<u64>,
    raised: bool,
}

impl Level {
    fn step(&mut self, threshold: Option<f64>, for_secs: u64, figure: Reading, now: u64) {
        let Some(threshold) = threshold else {
            *self = Self::default();
            return;
        };
        let above = match figure.falls {
            false => figure.value >= threshold,
            true => figure.value <= threshold,
        };
        if above {
            self.below_since = None;
            let since = *self
                .above_since
                .get_or_insert(figure.since_ms.unwrap_or(now).min(now));
            self.raised |= now - since.min(now) >= for_secs.saturating_mul(1000);
        } else if figure.falls {
            // What is left of something grows when there is a new one: that is over at once.
            *self = Self::default();
        } else if !self.raised {
            self.above_since = None;
        } else if figure.value >= threshold * CLEAR_BELOW {
            self.below_since = None;
        } else {
            let since = *self.below_since.get_or_insert(now);
            if now.saturating_sub(since) >= CLEAR_AFTER_MS {
                *self = Self::default();
            }
        }
    }

    fn raised_since(&self) -> Option<u64> {
        self.above_since.filter(|_| self.raised)
    }
}

/// A figure as measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// How much.
    pub value: f64,
    /// Since when, where that is known better than by looking.
    pub since_ms: Option<u64>,
    /// The smaller, the worse.
    pub falls: bool,
}

impl Reading {
    /// A figure that is the worse the larger it is.
    pub(super) fn of(value: f64) -> Self {
        Self {
            value,
            since_ms: None,
            falls: false,
        }
    }

    /// Nothing to worry about: what is left where there is nothing to measure any more.
    pub(super) fn calm(falls: bool) -> Self {
        Self {
            value: if falls { f64::INFINITY } else { 0.0 },
            since_ms: None,
            falls,
        }
    }
}

/// A condition that was measured before.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition {
    warn: Level,
    crit: Level,
}

/// What a condition says now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Raised {
    /// How much it matters.
    pub severity: Severity,
    /// Since when it holds.
    pub since_ms: u64,
    /// The threshold that it crossed.
    pub threshold: f64,
}

impl Condition {
    /// Takes a new reading in.
    pub(super) fn step(&mut self, rule: &Thresholds, figure: Reading, now: u64) {
        let enabled = |threshold: Option<f64>| threshold.filter(|_| rule.enabled);
        self.warn
            .step(enabled(rule.warn), rule.for_secs, figure, now);
        self.crit
            .step(enabled(rule.crit), rule.for_secs, figure, now);
    }

    /// What it says.
    pub(super) fn raised(&self, rule: &Thresholds) -> Option<Raised> {
        let (warn, crit) = (self.warn.raised_since(), self.crit.raised_since());
        let (severity, threshold) = match (warn, crit) {
            (_, Some(_)) => (Severity::Crit, rule.crit),
            (Some(_), None) => (Severity::Warn, rule.warn),
            (None, None) => return None,
        };
        Some(Raised {
            severity,
            since_ms: warn.into_iter().chain(crit).min()?,
            threshold: threshold?,
        })
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_idle(&self) -> bool {
        self.warn.above_since.is_none() && self.crit.above_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Thresholds = Thresholds {
        warn: Some(80.0),
        crit: Some(95.0),
        for_secs: 10,
        enabled: true,
    };

    fn feed(condition: &mut Condition, seconds: std::ops::Range<u64>, value: f64) {
        for second in seconds {
            condition.step(&RULE, Reading::of(value), second * 1000);
        }
    }

    fn severity(condition: &Condition) -> Option<Severity> {
        condition.raised(&RULE).map(|raised| raised.severity)
    }

    #[test]
    fn it_is_raised_after_its_time_and_since_the_first_second() {
        let mut condition = Condition::default();
        feed(&mut condition, 0..10, 85.0);
        assert_eq!(severity(&condition), None);
        feed(&mut condition, 10..11, 85.0);
        let raised = condition.raised(&RULE).unwrap();
        assert_eq!((raised.severity, raised.since_ms), (Severity::Warn, 0));
        assert_eq!(raised.threshold, 80.0);
        feed(&mut condition, 11..22, 99.0);
        let raised = condition.raised(&RULE).unwrap();
        assert_eq!((raised.severity, raised.since_ms), (Severity::Crit, 0));
        assert_eq!(raised.threshold, 95.0);
    }

    #[test]
    fn a_dip_before_its_time_starts_anew() {
        let mut condition = Condition::default();
        feed(&mut condition, 0..9, 85.0);
        feed(&mut condition, 9..10, 79.0);
        feed(&mut condition, 10..20, 85.0);
        assert_eq!(severity(&condition), None);
    }

    #[test]
    fn it_does_not_flap_around_its_threshold() {
        let mut condition = Condition::default();
        feed(&mut condition, 0..11, 85.0);
        for second in 11..100 {
            let value = if second % 2 == 0 { 79.0 } else { 81.0 };
            feed(&mut condition, second..second + 1, value);
            assert_eq!(severity(&condition), Some(Severity::Warn), "{second}");
        }
        feed(&mut condition, 100..104, 10.0);
        feed(&mut condition, 104..105, 75.0);
        feed(&mut condition, 105..110, 10.0);
        assert_eq!(
            severity(&condition),
            Some(Severity::Warn),
            "only 5 s of calm end it"
        );
        feed(&mut condition, 110..111, 10.0);
        assert_eq!(severity(&condition), None);
        assert!(condition.is_idle());
    }

    #[test]
    fn a_rule_that_is_switched_off_is_over_at_once_and_nonsense_raises_nothing() {
        let mut condition = Condition::default();
        feed(&mut condition, 0..11, 85.0);
        let off = Thresholds {
            enabled: false,
            ..RULE
        };
        let figure = |value| Reading {
            value,
            since_ms: Some(u64::MAX),
            falls: false,
        };
        condition.step(&off, figure(85.0), 11_000);
        assert_eq!(condition.raised(&off), None);
        for value in [f64::NAN, f64::NEG_INFINITY] {
            condition.step(&RULE, figure(value), u64::MAX);
            assert!(condition.is_idle());
        }
        condition.step(&RULE, figure(f64::INFINITY), 0);
        assert_eq!(condition.raised(&RULE), None, "not for long enough yet");
    }

    #[test]
    fn what_is_left_of_something_warns_when_it_gets_small() {
        let rule = Thresholds {
            warn: Some(14.0),
            crit: Some(3.0),
            for_secs: 0,
            enabled: true,
        };
        let mut condition = Condition::default();
        let mut severity = |left, now| {
            let figure = Reading {
                value: left,
                ..Reading::calm(true)
            };
            condition.step(&rule, figure, now);
            condition.raised(&rule).map(|raised| raised.severity)
        };
        assert_eq!(severity(14.1, 0), None);
        assert_eq!(severity(13.9, 1000), Some(Severity::Warn));
        assert_eq!(severity(2.0, 2000), Some(Severity::Crit));
        assert_eq!(severity(0.0, 3000), Some(Severity::Crit), "it has expired");
        // A new one.
        assert_eq!(severity(90.0, 4000), None);
    }
}
