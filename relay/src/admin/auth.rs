//! Who calls: a user of this machine over the Unix socket, or a token over TCP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::api::{ApiError, ErrorKind, Role};

use super::error::Failure;
use super::serve::Peer;
use crate::config::{LocalPassword, TokenLock};
use crate::control::{Caller, Service};

/// Addresses remembered; beyond that the oldest is forgotten.
const MAX_ADDRESSES: usize = 1024;

/// What authentication needs.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) service: Service,
    pub(super) throttle: Throttle,
    pub(super) password: Option<LocalPassword>,
}

/// Lets nobody in who is not known, and tells the handlers who it is.
pub(super) async fn authenticate(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let caller = match peer {
        // Whoever may open the socket is root, relayd itself or in its group: the mode says so.
        Some(Peer::Unix { uid }) => Ok(local_caller(uid)),
        Some(Peer::Tcp { address }) => gate.token_caller(address.ip(), bearer(request.headers())),
        None => Err(unauthenticated("unknown connection")),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => Failure::from(error).into_response(),
    }
}

fn local_caller(uid: u32) -> Caller {
    Caller {
        actor: format!("unix:{uid}"),
        role: Role::Admin,
        realms: Vec::new(),
    }
}

fn unauthenticated(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Unauthenticated, message)
}

/// The token of `Authorization: Bearer`; the scheme in any case (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    // A password may be of any language: its bytes are UTF-8, as `relayctl` sends them.
    let value = std::str::from_utf8(headers.get(AUTHORIZATION)?.as_bytes()).ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

impl Gate {
    /// Whoever knows the one password of this node, and is on this machine.
    fn local_caller(&self, ip: IpAddr, token: &str) -> Option<Caller> {
        let password = self.password.as_ref().filter(|_| ip.is_loopback())?;
        password.is(token).then(|| Caller {
            actor: "local:password".to_owned(),
            role: Role::Operator,
            realms: Vec::new(),
        })
    }

    fn token_caller(&self, ip: IpAddr, token: Option<&str>) -> Result<Caller, ApiError> {
        let Some(token) = token else {
            return Err(unauthenticated("send a token as Authorization: Bearer"));
        };
        if self.throttle.is_locked(ip, Instant::now()) {
            let secs = self.throttle.lock.lock.as_secs();
            let message = format!("too many wrong tokens from this address: wait {secs} seconds");
            return Err(unauthenticated(&message));
        }
        match self
            .service
            .authenticate(token)
            .or_else(|| self.local_caller(ip, token))
        {
            Some(caller) => {
                self.throttle.succeeded(ip);
                Ok(caller)
            }
            None => {
                self.throttle.failed(ip, Instant::now());
                Err(unauthenticated("the token is wrong, expired or deleted"))
            }
        }
    }
}

/// Counts wrong tokens per address.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    lock: TokenLock,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// One that locks an address as these settings say.
    pub(super) fn new(lock: TokenLock) -> Self {
        Self {
            lock,
            ..Self::default()
        }
    }

    /// Who counts as one: this machine with all of its addresses, and a network of 2^64 of them, as
    /// anybody gets for nothing.
    fn source(ip: IpAddr) -> IpAddr {
        match ip.to_canonical() {
            ip if ip.is_loopback() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) => IpAddr::from((u128::from(ip) >> 64 << 64).to_be_bytes()),
            ip => ip,
        }
    }

    fn succeeded(&self, ip: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&Self::source(ip));
    }

    fn is_locked(&self, ip: IpAddr, now: Instant) -> bool {
        let ip = Self::source(ip);
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .get(&ip)
            .is_some_and(|f| f.count >= self.lock.failures && now < f.last + self.lock.lock)
    }

    fn failed(&self, ip: IpAddr, now: Instant) {
        let ip = Self::source(ip);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_ADDRESSES && !failures.contains_key(&ip) {
            let oldest = failures
                .iter()
                .min_by_key(|(_, f)| f.last)
                .map(|(ip, _)| *ip);
            failures.remove(&oldest.unwrap_or(ip));
        }
        let entry = failures.entry(ip).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now >= entry.last + self.lock.lock {
            entry.count = 0;
        }
        entry.count += 1;
        entry.last = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_is_locked_after_so_many_wrong_tokens_and_freed_later() {
        let lock = TokenLock {
            failures: 3,
            lock: Duration::from_secs(7),
        };
        let throttle = Throttle::new(lock);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let start = Instant::now();
        for _ in 0..lock.failures {
            assert!(!throttle.is_locked(ip, start));
            throttle.failed(ip, start);
        }
        assert!(throttle.is_locked(ip, start));
        assert!(!throttle.is_locked("192.0.2.2".parse().unwrap(), start));
        assert!(!throttle.is_locked(ip, start + lock.lock));
        throttle.failed(ip, start + lock.lock);
        assert!(!throttle.is_locked(ip, start + lock.lock));
    }

    #[test]
    fn a_machine_counts_as_one_whatever_addresses_it_has_until_it_succeeds() {
        let lock = TokenLock {
            failures: 2,
            lock: Duration::from_secs(7),
        };
        let start = Instant::now();
        for pair in [
            ["127.0.0.1", "127.9.8.7"],
            ["2001:db8::1", "2001:db8::2:0:0:9"],
        ] {
            let throttle = Throttle::new(lock);
            let [one, other]: [IpAddr; 2] = pair.map(|ip| ip.parse().unwrap());
            throttle.failed(one, start);
            throttle.failed(other, start);
            assert!(throttle.is_locked(one, start), "{one}");
            throttle.succeeded(other);
            assert!(!throttle.is_locked(one, start), "{one}");
        }
    }

    #[test]
    fn the_throttle_forgets_the_oldest_address_when_full() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for i in 0..2 * MAX_ADDRESSES as u32 {
            throttle.failed(IpAddr::from((i + 1).to_be_bytes()), start);
        }
        assert_eq!(throttle.failures.lock().unwrap().len(), MAX_ADDRESSES);
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        let header = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(header("bearer x"), Some("x".to_owned()));
        assert_eq!(header("Basic eDp5"), None);
        assert_eq!(header("Bearer"), None);
    }
}
