//! NAT behaviour discovery (RFC 5780 §6): Binding answers that leave from elsewhere, go elsewhere,
//! or are longer. Off unless the policy has it.

use std::net::SocketAddr;
use std::sync::Arc;

use shared::Transport;

use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{Output, RefusalReason, Server};
use crate::five_tuple::FiveTuple;
use crate::policy::NatDiscovery;
use crate::stun::{AttributeType, Message, MessageBuilder};

/// The flags of CHANGE-REQUEST (§7.2).
const CHANGE_IP: u8 = 0x04;
const CHANGE_PORT: u8 = 0x02;
/// Type and length of an attribute.
const ATTRIBUTE_HEADER: usize = 4;
/// What FINGERPRINT adds.
const FINGERPRINT_LEN: usize = 8;

/// What a Binding request asks for besides its address.
struct Wish<'a> {
    change_ip: bool,
    change_port: bool,
    response_port: Option<u16>,
    padding: Option<&'a [u8]>,
}

impl Server {
    /// Answers a Binding request as the usage wants it; `None`: the usage is off.
    pub(super) fn discover_nat(
        &mut self,
        exchange: &Exchange,
        message: &Message<'_>,
    ) -> Option<Result<(), Rejection>> {
        let usage = self.policy.nat_discovery.clone()?;
        Some(self.answer_discovery(&usage, exchange, message))
    }

    fn answer_discovery(
        &mut self,
        usage: &Arc<NatDiscovery>,
        exchange: &Exchange,
        message: &Message<'_>,
    ) -> Result<(), Rejection> {
        let FiveTuple { client, server, .. } = exchange.tuple;
        let other = usage.others.get(&server).copied();
        Rejection::unknown_attributes_but(message, &understood(usage, &exchange.tuple, other))?;
        let wish = Wish::read(message)?;
        self.counters.bindings += 1;
        let source = match other {
            None => server,
            Some(other) => SocketAddr::new(
                if wish.change_ip {
                    other.ip()
                } else {
                    server.ip()
                },
                if wish.change_port {
                    other.port()
                } else {
                    server.port()
                },
            ),
        };
        let mut answer = exchange
            .success()
            .xor_address(AttributeType::XOR_MAPPED_ADDRESS, client)
            .plain_address(AttributeType::MAPPED_ADDRESS, client)
            .plain_address(AttributeType::RESPONSE_ORIGIN, usage.to_public(source));
        if let Some(other) = other {
            let other = usage.to_public(other);
            answer = answer.plain_address(AttributeType::OTHER_ADDRESS, other);
        }
        if wish.padding.is_some() {
            answer = pad(answer, exchange, message.as_bytes().len());
        }
        let port = wish.response_port.unwrap_or(client.port());
        let tuple = FiveTuple {
            client: SocketAddr::new(client.ip(), port),
            server: source,
            ..exchange.tuple
        };
        let message = exchange.seal(answer);
        self.outputs.push_back(Output::Transmit { tuple, message });
        Ok(())
    }
}

/// Adds PADDING that makes the answer as long as the request was, at most: the source of the
/// request may be forged.
fn pad(answer: MessageBuilder, exchange: &Exchange, request: usize) -> MessageBuilder {
    let tail = if exchange.fingerprint {
        FINGERPRINT_LEN
    } else {
        0
    };
    let without = answer.len() + ATTRIBUTE_HEADER + tail;
    let room = request.saturating_sub(without) / 4 * 4;
    answer.attribute(AttributeType::PADDING, &vec![0; room])
}

/// Which of the usage's attributes are answered on this listener: a stream and a DTLS association
/// cannot be answered from or to elsewhere, and have no fragments to test.
fn understood(
    usage: &NatDiscovery,
    tuple: &FiveTuple,
    other: Option<SocketAddr>,
) -> [Option<AttributeType>; 3] {
    let udp = tuple.transport == Transport::Udp;
    let when = |on: bool, kind| (on && udp).then_some(kind);
    [
        when(other.is_some(), AttributeType::CHANGE_REQUEST),
        when(usage.response_port, AttributeType::RESPONSE_PORT),
        when(usage.padding, AttributeType::PADDING),
    ]
}

impl<'a> Wish<'a> {
    /// Reads what was found to be understood.
    fn read(message: &Message<'a>) -> Result<Self, RefusalReason> {
        let flags = match message.attribute(AttributeType::CHANGE_REQUEST) {
            None => 0,
            Some(&[_, _, _, flags]) => flags,
            Some(_) => return Err(RefusalReason::MalformedAttribute),
        };
        let response_port = match message.attribute(AttributeType::RESPONSE_PORT) {
            None => None,
            // Two bytes, or with the padding that §7.5 counts in.
            Some(&[high, low] | &[high, low, _, _]) => Some(u16::from_be_bytes([high, low])),
            Some(_) => return Err(RefusalReason::MalformedAttribute),
        };
        let padding = message.attribute(AttributeType::PADDING);
        if response_port == Some(0) {
            return Err(RefusalReason::MalformedAttribute);
        }
        if response_port.is_some() && padding.is_some() {
            return Err(RefusalReason::ConflictingAttributes);
        }
        Ok(Self {
            change_ip: flags & CHANGE_IP != 0,
            change_port: flags & CHANGE_PORT != 0,
            response_port,
            padding,
        })
    }
}
