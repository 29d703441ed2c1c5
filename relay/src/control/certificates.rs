//! Certificates: read again when their files change, and told of. Alerts watch for their end.

use std::sync::Arc;
use std::time::Duration;

use shared::api::{CertificateView, EventKind, Severity};
use tokio::time::MissedTickBehavior;

use super::clock::Moment;
use super::hub::Hub;
use crate::certificate::{Certificates, Reload};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Certificates of one purpose.
#[derive(Clone, Debug)]
pub struct WatchedCertificates {
    /// `tls` for clients (TLS and DTLS), `admin` for the admin API.
    pub purpose: &'static str,
    /// Them.
    pub certificates: Arc<Certificates>,
}

/// Watches until the node stops.
pub(super) async fn watch(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let always = tokio::select! {
            () = hub.cancel.cancelled() => return,
            _ = interval.tick() => false,
            () = hub.reload_certificates.notified() => true,
        };
        for watched in &hub.parts.certificates {
            reload(&hub, watched, always);
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
            names: pair.names,
            problem: problem.clone(),
        })
    });
    views.collect()
}
