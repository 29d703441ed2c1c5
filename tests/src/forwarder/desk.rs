//! Answers to requests: success, whatever is asked, once a client has named a user.

use std::net::SocketAddr;

use turn_proto::stun::{AttributeType, Class, ErrorCode, Message, MessageBuilder, Method};

use super::flows::Flows;
use super::{Account, Binder};

/// The lifetime of everything, in seconds, for nothing ends.
const LIFETIME: u32 = 600;
/// The nonce of everybody.
const NONCE: &[u8] = b"none-is-checked";

/// Who answers.
#[derive(Debug)]
pub(super) struct Desk {
    account: Account,
}

impl Desk {
    pub(super) fn new(account: Account) -> Self {
        Self { account }
    }

    /// The answer to `request`; `None` for what is no request.
    pub(super) fn answer(
        &self,
        from: SocketAddr,
        request: &[u8],
        flows: &mut Flows,
        binder: &Binder,
    ) -> Option<Vec<u8>> {
        let message = Message::parse(request).ok()?;
        if message.class() != Class::Request {
            return None;
        }
        let success = MessageBuilder::answer(Class::Success, &message);
        if message.method() == Method::Binding {
            let answer = success.xor_address(AttributeType::XOR_MAPPED_ADDRESS, from);
            return Some(answer.finish());
        }
        if message.attribute(AttributeType::USERNAME).is_none() {
            return Some(self.challenge(&message));
        }
        let done = match message.method() {
            Method::Allocate => {
                let relayed = flows.open(from, binder).ok()?.relayed;
                success
                    .xor_address(AttributeType::XOR_RELAYED_ADDRESS, relayed)
                    .xor_address(AttributeType::XOR_MAPPED_ADDRESS, from)
                    .number(AttributeType::LIFETIME, LIFETIME)
            }
            Method::Refresh => {
                let asked = message.number(AttributeType::LIFETIME).ok().flatten();
                if asked == Some(0) {
                    flows.close(from, binder);
                }
                success.number(AttributeType::LIFETIME, asked.unwrap_or(LIFETIME))
            }
            Method::ChannelBind => {
                let flow = flows.of_client(from)?;
                let number = message.number(AttributeType::CHANNEL_NUMBER).ok()??;
                let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS);
                flow.peer = peer.ok()??;
                flow.channel = ((number >> 16) as u16).to_be_bytes();
                success
            }
            Method::CreatePermission => success,
            _ => return None,
        };
        Some(done.integrity(self.account.key.as_bytes()).finish())
    }

    fn challenge(&self, message: &Message<'_>) -> Vec<u8> {
        let error = MessageBuilder::answer(Class::Error, message)
            .error_code(ErrorCode::UNAUTHENTICATED)
            .attribute(AttributeType::REALM, self.account.realm.as_bytes())
            .attribute(AttributeType::NONCE, NONCE);
        error.finish()
    }
}
