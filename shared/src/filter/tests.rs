use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::api::SessionView;
use crate::{SessionId, Transport, WorkerId};

fn session() -> SessionView {
    SessionView {
        id: SessionId::new(0x7f3a_91c2, 5),
        node: "fra1".parse().unwrap(),
        worker: WorkerId(0),
        user: "alice@web".into(),
        username: "1790000000:alice@web".into(),
        realm: "acme".parse().unwrap(),
        transport: Transport::Udp,
        relay_transport: crate::RelayTransport::Tcp,
        mobile: true,
        client: "203.0.113.7:51000".parse().unwrap(),
        server: "192.0.2.10:3478".parse().unwrap(),
        relay: "192.0.2.14:49731".parse().unwrap(),
        relay_local: None,
        second_relay: Some("[2001:db8::14]:49731".parse().unwrap()),
        started_at_ms: 0,
        age_secs: 300,
        ttl_secs: 412,
        peers: vec!["198.51.100.200:40112".into(), "2001:db8::7".into()],
        peer_count: 2,
        rate_in_bps: 1_500_000,
        rate_out_bps: 700_000,
        in_packets: 10,
        in_bytes: 1000,
        out_packets: 20,
        out_bytes: 2000,
        drops: 0,
        throttled: 0,
        new_peers_per_sec: 0.0,
        max_rate_bps: None,
        secret_id: Some("2f9c01ab44de".into()),
        software: None,
        stale: false,
    }
}

fn parse(text: &str) -> Result<Filter, FilterError> {
    Filter::parse(text, SESSION_COLUMNS)
}

/// Filters over the session above, with whether it matches.
const CORPUS: &[(&str, bool)] = &[
    ("", true),
    ("   ", true),
    ("user=alice@web", true),
    ("user=Alice@web", false),
    ("user~ALICE", true),
    ("user~^alice", true),
    ("user~web$", true),
    ("user~^web", false),
    ("user~^alice@web$", true),
    ("!user~probe", true),
    ("relay_transport=tcp mobile=yes", true),
    ("relay_transport=udp", false),
    ("mobile=no", false),
    ("user!=bob", true),
    ("user!~alice", false),
    ("node=ams1|fra1", true),
    ("node=ams1|lon1", false),
    ("!node=ams1|fra1", false),
    ("realm=acme user~alice rate>2M", true),
    ("realm=acme user~alice rate>3M", false),
    ("rate>=2200k rate<=2.2M rate=2200000", true),
    ("in>1M out<1M", true),
    ("age<10m ttl<60", false),
    ("age<=5m", true),
    ("peers>3", false),
    ("peer=198.51.100.0/24", true),
    ("peer=198.51.100.1-198.51.100.199", false),
    ("peer=:40112", true),
    ("peer=2001:db8::/32", true),
    ("client=203.0.113.7", true),
    ("client=203.0.113.7:51000", true),
    ("client=203.0.113.7:51001", false),
    ("relay=:49731", true),
    ("relay=192.0.2.14", true),
    ("relay=2001:db8::/32", true),
    ("relay=2001:db8::15", false),
    ("relay~49731", true),
    ("secret=2f9c", true),
    ("secret=2F9C", true),
    ("secret=9c", false),
    ("id=7f3a91", true),
    ("maxrate<1M", false),
    ("!maxrate<1M", true),
    ("stale=no", true),
    ("transport=udp", true),
    ("label.region=fra", true),
    ("label.region=ams", false),
    ("label.absent=x", false),
    ("alice", true),
    ("ALICE|bob", true),
    ("!alice", false),
    ("203.0.113", true),
    ("7f3a", true),
    ("acme", false),
    ("\"alice@web\"", true),
    ("user=\"alice@web\"|\"a b\"", true),
];

#[test]
fn the_corpus_matches_as_written_and_after_printing() {
    let session = session();
    let labels = BTreeMap::from([("region".to_owned(), "fra".to_owned())]);
    let row = LabelledSession {
        session: &session,
        labels: &labels,
    };
    for (text, expected) in CORPUS {
        let filter = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(filter.matches(&row), *expected, "{text}");
        assert_eq!(parse(&filter.to_string()).as_ref(), Ok(&filter), "{text}");
    }
}

#[test]
fn errors_name_place_term_and_what_was_meant() {
    for (text, message) in [
        (
            "usr=alice",
            "filter, position 1: there is no column 'usr'; did you mean 'user'?",
        ),
        (
            "node=a relm=x",
            "filter, position 8: there is no column 'relm'; did you mean 'realm'?",
        ),
        (
            "zzzzzz=1",
            "filter, position 1: there is no column 'zzzzzz'",
        ),
        (
            "user>3",
            "filter, position 1: 'user>3': this column is compared with = and ~",
        ),
        (
            "rate~2",
            "filter, position 1: 'rate~2': this column is compared with =, >, <, >= and <=",
        ),
        (
            "rate>fast",
            "filter, position 6: 'fast' is not a rate in bits per second, as in 500k or 2M",
        ),
        (
            "age<10x",
            "filter, position 5: '10x' is not a duration, as in 60, 10m or 2h",
        ),
        ("user=", "filter, position 6: a value is missing in 'user='"),
        ("a=1|", "filter, position 1: there is no column 'a'"),
        (
            "node=a|",
            "filter, position 8: a value is missing in 'node=a|'",
        ),
        (
            "user=\"x",
            "filter, position 6: the quote is not closed in 'user=\"x'",
        ),
        ("!", "filter, position 2: a value is missing in '!'"),
        (
            "label.=x",
            "filter, position 1: there is no column 'label.'; did you mean 'label.*'?",
        ),
        (
            "stale=maybe",
            "filter, position 7: 'maybe' is not yes or no",
        ),
    ] {
        assert_eq!(
            parse(text).map_err(|e| e.to_string()),
            Err(message.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn an_empty_user_can_be_asked_for() {
    let session = SessionView {
        user: String::new(),
        ..session()
    };
    assert!(parse("user=\"\"").unwrap().matches(&session));
    assert!(!parse("user=\"\"").unwrap().matches(&self::session()));
}

#[test]
fn built_terms_survive_hostile_values() {
    for hostile in [
        "a b|c",
        "say \"hi\"",
        "back\\slash",
        "!x",
        "a=b",
        "\u{1b}[2J",
        "",
    ] {
        let session = SessionView {
            user: hostile.into(),
            ..session()
        };
        assert!(
            parse(&equals("user", hostile)).unwrap().matches(&session),
            "{hostile:?}"
        );
    }
}

#[test]
fn sizes_are_bounded() {
    let terms = |n: usize| vec!["node=a"; n].join(" ");
    assert!(parse(&terms(MAX_TERMS)).is_ok());
    assert_eq!(
        parse(&terms(MAX_TERMS + 1)).unwrap_err().problem,
        Problem::TooLong
    );
    assert_eq!(
        parse(&"a".repeat(MAX_LEN + 1)).unwrap_err().problem,
        Problem::TooLong
    );
    let many = format!("node={}", vec!["a"; MAX_ALTERNATIVES + 1].join("|"));
    assert_eq!(parse(&many).unwrap_err().problem, Problem::TooLong);
}

#[test]
fn every_column_has_a_value_for_a_full_row() {
    let session = SessionView {
        software: Some("coturn 4.6.1".to_owned()),
        max_rate_bps: Some(1),
        ..session()
    };
    for column in SESSION_COLUMNS.iter().filter(|c| c.name != "label.*") {
        let mut seen = 0;
        session.values(column.name, &mut |_| seen += 1);
        assert!(seen > 0, "{}", column.name);
    }
}

#[test]
fn sort_orders_parse_and_compare() {
    let spec = |text| SortSpec::parse(text, SESSION_COLUMNS);
    assert_eq!(spec("rate").unwrap().to_string(), "rate:desc");
    assert_eq!(spec("user").unwrap().to_string(), "user:asc");
    assert_eq!(spec("user:desc").unwrap().to_string(), "user:desc");
    assert_eq!(
        spec("rat").unwrap_err().to_string(),
        "cannot sort by 'rat'; did you mean 'rate'?"
    );
    assert_eq!(spec("user:up").unwrap_err(), SortError::Direction);
    let order = spec("rate:desc").unwrap();
    let (slow, fast) = (
        SessionView {
            rate_in_bps: 0,
            ..session()
        },
        session(),
    );
    let (slow, fast) = (order.key(&slow), order.key(&fast));
    assert_eq!(order.compare(&fast, &slow), std::cmp::Ordering::Less);
    assert_eq!(
        order.key(&SessionView {
            peers: vec![],
            ..session()
        }),
        SortKey::Number(2_200_000.0)
    );
    assert_eq!(spec("maxrate").unwrap().key(&session()), SortKey::Missing);
}

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_round_trips(text in any::<String>()) {
        if let Ok(filter) = parse(&text) {
            let _ = filter.matches(&session());
            prop_assert_eq!(parse(&filter.to_string()), Ok(filter));
        }
    }

    #[test]
    fn near_filters_round_trip(
        text in r#"(!?(user|rate|age|peer|id|label\.x|stale|zz)?(=|~|>|<=|!=|)["\\a-f0-9:./|M^$ -]{0,12} ?){0,5}"#
    ) {
        if let Ok(filter) = parse(&text) {
            let _ = filter.matches(&session());
            prop_assert_eq!(parse(&filter.to_string()), Ok(filter));
        }
    }

    #[test]
    fn sort_specs_never_panic(text in any::<String>()) {
        if let Ok(spec) = SortSpec::parse(&text, SESSION_COLUMNS) {
            prop_assert_eq!(SortSpec::parse(&spec.to_string(), SESSION_COLUMNS), Ok(spec));
        }
    }
}
