//! Which realm a request belongs to, before anything is known of its user.
//!
//! A listener's own realm, else the one of the server name that the client asked for (SNI), else,
//! where switched on, the one of its ORIGIN, else the default realm. An ORIGIN is worth something for
//! the request that carries it and for no other: anybody can write one, so none is remembered, and
//! none moves a session from its realm. A request that carries none names its realm itself, among
//! those that the listener serves: the default one and those that have origins.

use shared::{Realm, WebOrigin};

use super::Server;
use crate::five_tuple::FiveTuple;
use crate::stun::{AttributeType, Message};

impl Server {
    pub(super) fn arrival_realm(&self, tuple: &FiveTuple, message: &Message<'_>) -> &Realm {
        let policy = &*self.policy;
        let by_name = || self.connections.get(tuple)?.realm.as_ref();
        let by_listener = policy.listener_realms.get(&tuple.server);
        by_listener
            .or_else(by_name)
            .or_else(|| self.realm_of_origin(message))
            .unwrap_or(&policy.default_realm)
    }

    fn realm_of_origin(&self, message: &Message<'_>) -> Option<&Realm> {
        let origins = &self.policy.origins;
        if origins.is_empty() {
            return None;
        }
        if let Some(origin) = message.attribute(AttributeType::ORIGIN) {
            let origin = WebOrigin::parse_foreign(std::str::from_utf8(origin).ok()?)?;
            return origins.get(origin.with_port().as_str());
        }
        let named = message.attribute(AttributeType::REALM)?;
        origins
            .values()
            .find(|realm| realm.as_str().as_bytes() == named)
    }
}
