//! Permissions (RFC 8656 §9): which peers a client talks to, by address.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::five_tuple::AddressFamily;
use crate::policy::{AddressVerdict, Policy, RealmPolicy};
use crate::server::PermissionSnapshot;

/// One permission, and what the policy said about its peer.
#[derive(Debug)]
pub(crate) struct Permission {
    pub(crate) peer: IpAddr,
    pub(crate) expires: Instant,
    pub(crate) last_port: Option<u16>,
    pub(crate) in_bytes: u64,
    pub(crate) out_bytes: u64,
    verdict: AddressVerdict,
    /// The port judged last, where ports matter.
    port_verdict: Option<(u16, bool)>,
    /// Where datagrams go: the local address of an external one.
    target: IpAddr,
    revision: u64,
}

impl Permission {
    fn new(peer: IpAddr, expires: Instant, policy: &Policy, realm: &RealmPolicy) -> Self {
        let mut permission = Self {
            peer,
            expires,
            last_port: None,
            in_bytes: 0,
            out_bytes: 0,
            verdict: AddressVerdict::Denied,
            port_verdict: None,
            target: peer,
            revision: policy.revision,
        };
        permission.judge(policy, realm);
        permission
    }

    fn judge(&mut self, policy: &Policy, realm: &RealmPolicy) {
        self.verdict = policy.peers.judge_address(realm, self.peer);
        self.target = policy.peers.to_local(SocketAddr::new(self.peer, 0)).ip();
        self.port_verdict = None;
        self.revision = policy.revision;
    }

    /// Whether a datagram may pass to or from that port, by the policy in force now.
    pub(crate) fn allows(&mut self, port: u16, policy: &Policy, realm: &RealmPolicy) -> bool {
        if self.revision != policy.revision {
            self.judge(policy, realm);
        }
        match (self.verdict, self.port_verdict) {
            (AddressVerdict::Denied, _) => false,
            (AddressVerdict::Allowed, _) => port != 0,
            (AddressVerdict::ByPort, Some((judged, allowed))) if judged == port => allowed,
            (AddressVerdict::ByPort, _) => {
                let allowed = policy.peers.allows(realm, SocketAddr::new(self.peer, port));
                self.port_verdict = Some((port, allowed));
                allowed
            }
        }
    }

    /// Where a datagram for that port of the peer is sent.
    pub(crate) fn target(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.target, port)
    }
}

/// The permissions of one allocation: few, so a scan beats a hash.
#[derive(Debug, Default)]
pub(crate) struct Permissions(Vec<Permission>);

impl Permissions {
    /// The permission for an address, expired or not.
    pub(crate) fn get(&self, peer: IpAddr) -> Option<&Permission> {
        self.0.iter().find(|permission| permission.peer == peer)
    }

    /// The live permission for an address.
    pub(crate) fn live(&mut self, peer: IpAddr, now: Instant) -> Option<&mut Permission> {
        self.0
            .iter_mut()
            .find(|permission| permission.peer == peer && now < permission.expires)
    }

    /// Installs or refreshes; says whether it is new.
    pub(crate) fn install(
        &mut self,
        peer: IpAddr,
        expires: Instant,
        policy: &Policy,
        realm: &RealmPolicy,
    ) -> bool {
        if let Some(permission) = self.0.iter_mut().find(|permission| permission.peer == peer) {
            permission.expires = expires;
            return false;
        }
        if self.0.is_empty() {
            // Most have one, and a vector would make room for four.
            self.0.reserve_exact(1);
        }
        self.0.push(Permission::new(peer, expires, policy, realm));
        true
    }

    /// How many there are, expired ones that nobody purged included.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many there would be with these addresses added.
    pub(crate) fn len_with(&self, peers: &[IpAddr]) -> usize {
        let fresh = |(index, peer): &(usize, &IpAddr)| {
            self.get(**peer).is_none() && !peers[..*index].contains(*peer)
        };
        self.0.len() + peers.iter().enumerate().filter(fresh).count()
    }

    /// Drops what has expired.
    pub(crate) fn purge(&mut self, now: Instant) {
        self.0.retain(|permission| now < permission.expires);
        self.0.shrink_to(2 * self.0.len());
    }

    /// Drops those of a family.
    pub(crate) fn forget_family(&mut self, family: AddressFamily) {
        self.0
            .retain(|permission| AddressFamily::of_ip(permission.peer) != family);
    }

    /// Forgets those of such peers; says whether there were any.
    pub(crate) fn forget_peers(&mut self, is_gone: impl Fn(IpAddr) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|permission| !is_gone(permission.peer));
        self.0.len() < before
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.0.capacity()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|permission| permission.expires).min()
    }

    pub(crate) fn snapshot(&self) -> Vec<PermissionSnapshot> {
        let shot = |p: &Permission| PermissionSnapshot {
            peer: p.peer,
            last_port: p.last_port,
            expires: p.expires,
            in_bytes: p.in_bytes,
            out_bytes: p.out_bytes,
        };
        self.0.iter().map(shot).collect()
    }
}
