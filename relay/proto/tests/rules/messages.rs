//! Framing, Binding and what is dropped in silence (RFC 8489 §5 and §6.3).

use crate::kit::*;
use turn_proto::RefusalReason;
use turn_proto::stun::{AttributeType as A, Class, MessageBuilder, Method};

#[test]
fn binding_tells_the_source_address() {
    for client in ["192.0.2.10:40000", "[2001:db8::5]:40000"] {
        let mut net = Net::new();
        let mut from = tuple(CLIENT);
        from.client = addr(client);
        let request = ask_for(Method::Binding);
        let answer = net.ask(from, &request.finish()).unwrap();
        assert_eq!(
            answer.message().xor_address(A::XOR_MAPPED_ADDRESS),
            Ok(Some(addr(client)))
        );
        assert!(!answer.message().has_fingerprint());
    }
}

#[test]
fn a_fingerprint_is_answered_with_one() {
    let mut net = Net::new();
    let request = ask_for(Method::Binding).fingerprint().finish();
    assert!(
        net.ask(tuple(CLIENT), &request)
            .unwrap()
            .message()
            .has_fingerprint()
    );
    let request = allocate().fingerprint().finish();
    assert!(
        net.ask(tuple(CLIENT), &request)
            .unwrap()
            .message()
            .has_fingerprint()
    );
}

#[test]
fn where_it_is_switched_on_every_answer_has_a_fingerprint() {
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.settings.fingerprint = true;
    let mut net = Net::with_policy(policy);
    // A success, and a refusal.
    for request in [ask_for(Method::Binding), allocate()] {
        let answer = net.ask(tuple(CLIENT), &request.finish()).unwrap();
        assert!(answer.message().has_fingerprint());
    }
}

#[test]
fn broken_messages_are_dropped_and_counted() {
    let mut net = Net::new();
    let good = ask_for(Method::Binding)
        .attribute(A::SOFTWARE, b"abcd")
        .finish();
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let mut fingerprinted = ask_for(Method::Binding).fingerprint().finish();
    fingerprinted[27] ^= 1;
    let mut longer = good.clone();
    longer.extend([0; 4]);
    let broken = [
        good[..19].to_vec(),
        good[..24].to_vec(),
        longer,
        with(3, 9),    // length no multiple of four
        with(4, 0),    // cookie
        with(0, 0x0f), // unknown method
        with(23, 9),   // attribute overruns
        with(0, 0x80), // neither STUN nor ChannelData
        with(0, 22),   // DTLS
        fingerprinted,
        Vec::new(),
    ];
    for bytes in &broken {
        assert_eq!(net.ask(tuple(CLIENT), bytes), None, "{bytes:02x?}");
    }
    assert_eq!(net.server.counters().malformed.total(), broken.len() as u64);
    assert!(net.ask(tuple(CLIENT), &good).is_some());
}

#[test]
fn responses_and_indications_are_never_answered() {
    let mut net = Net::new();
    for class in [Class::Indication, Class::Success, Class::Error] {
        for method in [
            Method::Binding,
            Method::Allocate,
            Method::Refresh,
            Method::Data,
        ] {
            let message = MessageBuilder::new(class, method, next_id()).finish();
            assert_eq!(net.ask(tuple(CLIENT), &message), None);
        }
    }
    for method in [Method::Send, Method::Data] {
        let message = ask_for(method).finish();
        assert_eq!(net.ask(tuple(CLIENT), &message), None);
    }
}

#[test]
fn unknown_required_attributes_are_all_listed_once() {
    let mut net = Net::new();
    let request = ask_for(Method::Binding)
        .attribute(A(0x7001), b"")
        .attribute(A(0x8fff), b"optional")
        .attribute(A(0x0003), &[0; 4])
        .attribute(A(0x7001), b"x");
    let answer = net.ask(tuple(CLIENT), &request.finish()).unwrap();
    assert_eq!(answer.code(), 420);
    let list = answer.message().attribute(A::UNKNOWN_ATTRIBUTES);
    assert_eq!(list, Some(&[0x00, 0x03, 0x70, 0x01][..]));
}

#[test]
fn an_answer_to_a_stranger_is_at_most_three_times_the_request() {
    let mut net = Net::new();
    for method in [
        Method::Binding,
        Method::Allocate,
        Method::Refresh,
        Method::CreatePermission,
    ] {
        let request = ask_for(method).finish();
        let answer = net.ask(tuple(CLIENT), &request).unwrap();
        assert!(
            answer.0.len() <= 3 * request.len(),
            "{method:?}: {}",
            answer.0.len()
        );
    }
    let request = allocate().finish();
    let answer = net.ask(tuple(CLIENT), &request).unwrap();
    assert_eq!(answer.code(), 401);
    assert!(answer.0.len() <= 3 * request.len(), "{}", answer.0.len());
}

#[test]
fn every_reason_is_explained_to_operators_and_nothing_else_is() {
    let words = RefusalReason::ALL.iter().map(|reason| reason.as_str());
    let explained: std::collections::BTreeSet<_> = shared::api::refusal_reasons().collect();
    assert_eq!(words.collect::<std::collections::BTreeSet<_>>(), explained);
    for word in explained {
        let (means, remedy) = shared::api::explain_refusal(word).unwrap();
        assert!(!means.is_empty() && !remedy.is_empty(), "{word}");
    }
}

#[test]
fn every_reason_has_its_own_snake_case_word() {
    let mut words: Vec<_> = RefusalReason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .collect();
    let legal = |c: char| c.is_ascii_lowercase() || c == '_';
    assert!(words.iter().all(|word| word.chars().all(legal)));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), RefusalReason::ALL.len());
}

#[test]
fn a_message_of_rfc_3489_is_not_answered_on_any_transport() {
    use shared::Transport;
    // A Binding request whose transaction id fills the place of the cookie, as it was before.
    let old = [&[0, 1, 0, 0][..], &[0x11; 16]].concat();
    for transport in Transport::ALL {
        let mut net = Net::new();
        let mut from = tuple(CLIENT);
        from.transport = transport;
        assert_eq!(net.ask(from, &old), None, "{transport}");
        let today = ask_for(Method::Binding).finish();
        assert!(net.ask(from, &today).is_some(), "{transport}");
    }
}

#[test]
fn the_first_byte_tells_the_protocols_apart() {
    use turn_proto::demux::Protocol;
    for byte in 0..=u8::MAX {
        let expected = match byte {
            0..=3 => Protocol::Stun,
            20..=63 => Protocol::Dtls,
            64..=79 => Protocol::ChannelData,
            80..=127 => Protocol::OldChannelData,
            _ => Protocol::Unknown,
        };
        assert_eq!(Protocol::of(&[byte, 1, 2, 3]), expected, "{byte}");
    }
    assert_eq!(Protocol::of(&[]), Protocol::Unknown);
}

#[test]
fn padding_of_answers_is_zero_whatever_came_before() {
    let mut realm = realm_policy("a.realm.of.21.letters");
    realm.revision = 1;
    let mut net = Net::with_policy(policy(vec![realm]));
    for filler in [0xff, 0x5a] {
        // Something to be left behind in a buffer that is used again.
        let loud = ask_for(Method::Allocate).attribute(A::SOFTWARE, &[filler; 600]);
        let answer = net.ask(tuple(CLIENT), &loud.finish()).unwrap();
        assert_eq!(answer.code(), 401);
        let realm = answer
            .0
            .windows(21)
            .position(|w| w == b"a.realm.of.21.letters");
        let end = realm.unwrap() + 21;
        assert_eq!(answer.0[end..end + 3], [0; 3]);
    }
}

#[test]
fn software_is_told_where_the_node_says_so_and_never_to_strangers() {
    let told = |software: Option<&str>| {
        let mut policy = policy(vec![realm_policy(REALM)]);
        policy.settings.software = software.map(str::to_owned);
        let mut net = Net::with_policy(policy);
        let challenge = net.ask(tuple(CLIENT), &allocate().finish()).unwrap();
        assert_eq!(challenge.text(A::SOFTWARE), None);
        let client = Client::alice().greet(&mut net);
        let answer = client.ask(&mut net, allocate()).unwrap();
        assert_eq!(answer.code(), 0);
        answer.text(A::SOFTWARE)
    };
    assert_eq!(told(None), None);
    assert_eq!(told(Some("a relay")), Some("a relay".to_owned()));
}
