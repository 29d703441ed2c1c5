//! Certificates: read again when their files change, watched for their end, told of.

use std::sync::Arc;
use std::time::Duration;

use shared::api::{CertificateView, EventKind, Severity};
use tokio::time::MissedTickBehavior;

use super::clock::Moment;
use super::hub::Hub;
use crate::certificate::{Certificates, Reload};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long before its end a certificate is warned of, in seconds: renewal usually comes at 30 days.
const SOON: u64 = 14 * 86_400;

/// Certificates of one purpose.
#[derive(Clone, Debug)]
pub struct WatchedCertificates {
    /// `tls` for clients (TLS and DTLS), `admin` for the admin API.
    pub purpose: &'static str,
    /// Them.
    pub certificates: Arc<Certificates>,
}

/// How much of its life a certificate has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Good,
    Soon,
    Expired,
}

impl Age {
    fn of(not_after: u64, unix: u64) -> Self {
        match not_after.checked_sub(unix) {
            None => Self::Expired,
            Some(left) if left < SOON => Self::Soon,
            Some(_) => Self::Good,
        }
    }
}

/// Watches until the node stops.
pub(super) async fn watch(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = vec![Vec::new(); hub.parts.certificates.len()];
    loop {
        let always = tokio::select! {
            () = hub.cancel.cancelled() => return,
            _ = interval.tick() => false,
            () = hub.reload_certificates.notified() => true,
        };
        for (watched, told) in hub.parts.certificates.iter().zip(&mut told) {
            reload(&hub, watched, always);
            tell_ages(&hub, watched, told);
        }
    }
}

fn reload(hub: &Hub, watched: &WatchedCertificates, always: bool) {
    let purpose = watched.purpose;
    match watched
        .certificates
        .reload(always, Moment::now().unix_secs())
    {
        Reload::Same => {}
        Reload::Exchanged => {
            tracing::info!(purpose, "a new certificate is in force");
            let text = format!("{}: a new certificate for {purpose} is in force", hub.node);
            hub.event(EventKind::ConfigChanged, Severity::Notice, text);
        }
        Reload::Refused(reason) => {
            tracing::error!(purpose, reason, "the certificate in force stays");
            let node = &hub.node;
            let text = format!("{node}: the certificate for {purpose} in force stays: {reason}");
            hub.event(EventKind::ConfigChanged, Severity::Warn, text);
        }
    }
}

/// Says once that a certificate comes to its end, and once that it has.
fn tell_ages(hub: &Hub, watched: &WatchedCertificates, told: &mut Vec<Age>) {
    let unix = Moment::now().unix_secs();
    let standing = watched.certificates.standing();
    told.resize(standing.len(), Age::Good);
    for (pair, told) in standing.iter().zip(told) {
        let age = Age::of(pair.not_after, unix);
        if std::mem::replace(told, age) == age || age == Age::Good {
            continue;
        }
        let file = pair.file.display();
        let days = pair.not_after.saturating_sub(unix) / 86_400;
        let (severity, text) = match age {
            Age::Expired => (Severity::Crit, format!("{file} has expired: renew it")),
            _ => (
                Severity::Warn,
                format!("{file} expires in {days} days: renew it"),
            ),
        };
        tracing::warn!(purpose = watched.purpose, "{text}");
        hub.event(
            EventKind::ConfigChanged,
            severity,
            format!("{}: {text}", hub.node),
        );
    }
}

/// The certificates of this node, as operators see them.
pub(super) fn views(hub: &Hub) -> Vec<CertificateView> {
    let watched = hub.parts.certificates.iter();
    let views = watched.flat_map(|watched| {
        let problem = watched.certificates.problem();
        let standing = watched.certificates.standing().into_iter();
        standing.map(move |pair| CertificateView {
            purpose: watched.purpose.to_owned(),
            file: pair.file.to_string_lossy().into_owned(),
            key: pair.kind.as_str().to_owned(),
            not_after_ms: pair.not_after.saturating_mul(1000),
            problem: problem.clone(),
        })
    });
    views.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_of_two_weeks_before_its_end() {
        let end = 2_000_000_000;
        assert_eq!(Age::of(end, end - 14 * 86_400), Age::Good);
        assert_eq!(Age::of(end, end - 14 * 86_400 + 1), Age::Soon);
        assert_eq!(Age::of(end, end), Age::Soon);
        assert_eq!(Age::of(end, end + 1), Age::Expired);
    }
}
