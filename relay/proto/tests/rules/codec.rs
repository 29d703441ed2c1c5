//! Properties: nothing from the network panics, and what is built can be read.

use crate::kit::*;
use proptest::prelude::*;
use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method, TransactionId};

const METHODS: [Method; 7] = [
    Method::Binding,
    Method::Allocate,
    Method::Refresh,
    Method::Send,
    Method::Data,
    Method::CreatePermission,
    Method::ChannelBind,
];
const CLASSES: [Class; 4] = [
    Class::Request,
    Class::Indication,
    Class::Success,
    Class::Error,
];

fn any_attribute() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let kind = prop_oneof![0_u16..0x30, 0x8000_u16..0x8040, any::<u16>()];
    (kind, prop::collection::vec(any::<u8>(), 0..40))
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let attributes = prop::collection::vec(any_attribute(), 0..8);
    (
        0..METHODS.len(),
        0..CLASSES.len(),
        any::<[u8; 12]>(),
        attributes,
    )
        .prop_map(|(method, class, id, attributes)| {
            let start = MessageBuilder::new(CLASSES[class], METHODS[method], TransactionId(id));
            attributes
                .iter()
                .fold(start, |m, (kind, value)| m.attribute(A(*kind), value))
                .finish()
        })
}

fn mutate(mut bytes: Vec<u8>, edits: &[(usize, u8)]) -> Vec<u8> {
    for (at, value) in edits {
        if let Some(byte) = bytes.get_mut(*at) {
            *byte = *value;
        }
    }
    bytes
}

proptest! {
    #[test]
    fn reading_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ChannelData::parse(&bytes);
        if let Ok(message) = Message::parse(&bytes) {
            let _ = (message.attributes().count(), message.verify_integrity(b"k"));
        }
    }

    #[test]
    fn built_messages_are_read_back(
        id in any::<[u8; 12]>(),
        attributes in prop::collection::vec((0x7000_u16..0x7fff, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        v6 in any::<u128>(),
        port in any::<u16>(),
    ) {
        let peer = std::net::SocketAddr::new(std::net::Ipv6Addr::from(v6).into(), port);
        let start = MessageBuilder::request(Method::Refresh, TransactionId(id));
        let built = attributes.iter().fold(start, |m, (kind, value)| m.attribute(A(*kind), value));
        let bytes =
            built.xor_address(A::XOR_PEER_ADDRESS, peer).integrity(b"key").fingerprint().finish();
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.transaction(), TransactionId(id));
        prop_assert_eq!(message.xor_address(A::XOR_PEER_ADDRESS), Ok(Some(peer)));
        prop_assert!(message.has_fingerprint() && message.verify_integrity(b"key"));
        let read: Vec<_> = message.attributes().map(|(k, v)| (k.0, v.to_vec())).collect();
        prop_assert_eq!(&read[..attributes.len()], &attributes[..]);
    }

    #[test]
    fn channel_data_is_read_back(number in 0x4000_u16..0x5000, data in prop::collection::vec(any::<u8>(), 0..100)) {
        let bytes = channel_data(number, &data);
        let read = ChannelData::parse(&bytes).unwrap();
        prop_assert_eq!((read.number, read.payload), (ChannelNumber::new(number).unwrap(), &data[..]));
    }

    #[test]
    fn strangers_with_any_message_cost_no_state(
        messages in prop::collection::vec((any_message(), prop::collection::vec((0..120_usize, any::<u8>()), 0..4)), 1..20),
    ) {
        let mut net = Net::new();
        for (bytes, edits) in messages {
            let bytes = mutate(bytes, &edits);
            let before = net.sent.len();
            prop_assert!(net.client(tuple(CLIENT), &bytes).is_none());
            prop_assert!(net.sent.len() <= before + 1);
        }
        prop_assert_eq!(net.server.sessions(), 0);
        prop_assert!(net.lookups.is_empty() && net.requests.is_empty());
    }

    #[test]
    fn a_genuine_client_with_any_attributes_breaks_nothing(
        steps in prop::collection::vec((0..METHODS.len(), prop::collection::vec(any_attribute(), 0..5), 0_u32..200), 1..30),
    ) {
        let mut net = Net::new();
        let mut alice = Client::alice().greet(&mut net);
        for (method, attributes, wait) in steps {
            let start = match METHODS[method] {
                Method::Allocate => allocate(),
                method => ask_for(method),
            };
            let request = attributes.iter().fold(start, |m, (kind, value)| m.attribute(A(*kind), value));
            net.client(alice.tuple, &alice.sign(request));
            net.client(alice.tuple, &channel_data(0x4000, b"x"));
            net.advance(f64::from(wait));
            alice = alice.greet(&mut net);
        }
        net.advance(10_000.0);
        prop_assert_eq!(net.server.sessions(), 0);
        prop_assert_eq!(net.quota.held.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}
