//! The requests of all sessions: which are on their way, which have to leave, and how a session that
//! stands is kept alive.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use shared::Transport;
use turn_proto::channel_data::ChannelNumber;

use super::error::BenchError;
use super::negotiation::{Ids, Negotiation, Outcome, Step};
use super::plan::{Logins, Method, Place};

/// How many channel numbers RFC 8656 §12 has.
const CHANNELS: usize = 0x1000;
/// The first of them.
const FIRST_CHANNEL: u16 = 0x4000;

/// The sessions' side of the control plane.
#[derive(Debug)]
pub(super) struct Control {
    /// By client.
    pub(super) members: Vec<Negotiation>,
    /// Where each client's peer is, once known.
    pub(super) peers: Vec<Option<SocketAddr>>,
    /// Clients whose request is to be sent.
    pub(super) to_send: Vec<usize>,
    method: Method,
    ids: Ids,
    transport: Transport,
    patience: Duration,
}

impl Control {
    /// Sessions that have asked for nothing yet.
    pub(super) fn new(place: &Place, sessions: usize, method: Method) -> Result<Self, BenchError> {
        let member = |number| Negotiation::new(place.logins.of(number));
        Ok(Self {
            members: (0..sessions).map(member).collect(),
            peers: vec![None; sessions],
            to_send: Vec::with_capacity(sessions),
            method,
            ids: Ids::new()?,
            transport: place.transport,
            patience: place.patience,
        })
    }

    /// A client without a past in the place of `client`: another login, another nonce.
    pub(super) fn replace(&mut self, client: usize, number: usize, logins: &Logins) {
        self.members[client] = Negotiation::new(logins.of(number));
    }

    /// Gives up what is waited for, but allocations: they may stand already.
    pub(super) fn forget_all_but_allocations(&mut self) {
        for member in &mut self.members {
            member.renew_at = None;
            if !matches!(member.step(), Some(Step::Allocate { .. })) {
                member.forget();
            }
        }
    }

    fn is_reliable(&self) -> bool {
        matches!(self.transport, Transport::Tcp | Transport::Tls)
    }

    /// The channel of a client, which differs from its neighbours'.
    pub(super) fn channel(client: usize) -> ChannelNumber {
        let number = FIRST_CHANNEL + (client % CHANNELS) as u16;
        ChannelNumber::new(number).expect("a number below 0x5000")
    }

    /// Has `client` ask for `step`.
    pub(super) fn begin(&mut self, client: usize, step: Step, now: Instant) {
        let reliable = self.is_reliable();
        self.members[client].begin(step, reliable, &mut self.ids, now);
        self.to_send.push(client);
    }

    /// Gives a message of the server to `client`. Answers the step that it ended.
    ///
    /// # Errors
    /// The server refused, or its answer cannot be believed.
    pub(super) fn heard(
        &mut self,
        client: usize,
        message: &[u8],
        now: Instant,
    ) -> Result<Option<Step>, BenchError> {
        let Some(member) = self.members.get_mut(client) else {
            return Ok(None);
        };
        match member.answer(message, &mut self.ids, now) {
            Ok(Outcome::Nothing) => Ok(None),
            Ok(Outcome::Send) => {
                self.to_send.push(client);
                Ok(None)
            }
            Ok(Outcome::Done(step)) => Ok(Some(step)),
            Err(error) => {
                let asked = member.step();
                member.forget();
                if asked == Some(Step::Release) && error.code() == Some(437) {
                    // It was gone already.
                    member.relayed = None;
                    return Ok(asked);
                }
                let method = asked.map_or(turn_proto::stun::Method::Binding, Step::method);
                Err(BenchError::of(method, self.transport, error))
            }
        }
    }

    /// What a session needs behind `step` until data can pass: permission, then channel.
    pub(super) fn behind(&self, client: usize, step: Step) -> Option<Step> {
        let peer = self.peers[client]?;
        match (step, self.method) {
            (Step::Allocate { .. } | Step::Refresh, _) => Some(Step::Permit(peer)),
            (Step::Permit(_), Method::Channel) => Some(Step::Bind(Self::channel(client), peer)),
            _ => None,
        }
    }

    /// As [`Self::heard`], and goes on with what is behind a step.
    ///
    /// # Errors
    /// As [`Self::heard`].
    pub(super) fn go_on(
        &mut self,
        client: usize,
        message: &[u8],
        now: Instant,
    ) -> Result<(), BenchError> {
        if let Some(step) = self.heard(client, message, now)?
            && let Some(step) = self.behind(client, step)
        {
            self.begin(client, step, now);
        }
        Ok(())
    }

    /// Has what is due sent again, and sessions refreshed of which half the time is over.
    ///
    /// # Errors
    /// A request was sent in vain often enough; the session is named by its client.
    pub(super) fn look_after(&mut self, now: Instant) -> Result<(), (usize, BenchError)> {
        for client in 0..self.members.len() {
            let member = &mut self.members[client];
            if member.is_waiting() {
                match member.again(now, self.patience) {
                    Ok(true) => self.to_send.push(client),
                    Ok(false) => {}
                    Err(error) => {
                        let method = member.step().map(Step::method);
                        member.forget();
                        let method = method.unwrap_or(turn_proto::stun::Method::Binding);
                        return Err((client, BenchError::of(method, self.transport, error)));
                    }
                }
            } else if member.renew_at.is_some_and(|at| at <= now) {
                self.begin(client, Step::Refresh, now);
            }
        }
        Ok(())
    }
}
