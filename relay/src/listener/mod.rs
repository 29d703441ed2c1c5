//! Client connections: accepted, told apart, secured and cut into frames.

pub mod certificate;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::certificate::CertificateError;
use crate::config::{Config, ConnectionLimits};
use certificate::TlsContext;

/// What the listeners of all workers have in common.
#[derive(Debug)]
pub struct Listening {
    /// The certificate shown to TLS clients.
    pub tls: TlsContext,
    limits: ArcSwap<ConnectionLimits>,
}

impl Listening {
    /// That of a node which starts.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn new(config: &Config) -> Result<Self, CertificateError> {
        Ok(Self {
            tls: TlsContext::load(config.tls.as_ref())?,
            limits: ArcSwap::from_pointee(config.connections.clone()),
        })
    }

    /// What connections are held to.
    #[must_use]
    pub fn limits(&self) -> Arc<ConnectionLimits> {
        self.limits.load_full()
    }

    /// Holds connections, those that exist too, to other limits from now on.
    pub fn set_limits(&self, limits: &ConnectionLimits) {
        self.limits.store(Arc::new(limits.clone()));
    }
}
