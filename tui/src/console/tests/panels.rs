//! What stands beside the lists: asked for when it is visible, and kept honest.

use crossterm::event::KeyCode;

use insta::assert_snapshot;
use shared::api::CertificateView;
use shared::{RelayTransport, Transport};

use super::Rig;
use crate::client::fake::poison::Poison;
use crate::console::model::Place;
use crate::console::pulse::Panel;

#[test]
fn only_a_visible_session_under_a_resting_cursor_is_watched() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("3jjj");
    rig.second();
    assert!(
        rig.called("history session/").is_empty(),
        "no panel, no question"
    );
    rig.model.size = (160, 45);
    rig.second();
    assert_eq!(rig.called("history session/").len(), 1);
    rig.api.clear_calls();
    let id = |rig: &Rig| rig.model.lists.sessions.cursor.clone().unwrap();
    rig.keys("jjjj");
    let last = id(&rig);
    rig.post(crate::console::message::Message::Tick(
        rig.model.now_ms + 100,
    ));
    assert!(
        rig.called("history session/").is_empty(),
        "the cursor still moves"
    );
    rig.second();
    assert_eq!(
        rig.called("history session/"),
        [format!("history session/{last}")]
    );
    rig.keys("p");
    rig.api.clear_calls();
    rig.second();
    assert!(rig.called("history session/").is_empty(), "paused");
}

#[test]
fn no_view_breaks_whatever_strangers_write_and_however_small_the_screen() {
    let lines = [
        ":pulse",
        ":nodes",
        ":sessions",
        ":users",
        ":realms",
        ":audit",
        ":refusals",
        ":refusal-counts",
        ":alerts",
        ":alert-rules",
        ":redirects",
        ":config fra1",
        ":diff fra1 lon1",
        ":top user",
        ":contexts",
    ];
    for poison in [
        Poison::Names,
        Poison::Long,
        Poison::Figures,
        Poison::Empty,
        Poison::One,
    ] {
        let mut rig = Rig::writable(12);
        rig.api.poison(poison);
        for line in lines {
            rig.line(line);
            for deeper in [false, true] {
                if deeper {
                    rig.press(KeyCode::Enter);
                }
                rig.second();
                for size in [
                    (40, 10),
                    (60, 15),
                    (80, 24),
                    (119, 39),
                    (160, 45),
                    (300, 100),
                ] {
                    rig.model.size = size;
                    rig.second();
                    let screen = rig.screen();
                    assert!(
                        !screen.chars().any(|c| c.is_control() && c != '\n'),
                        "{screen}"
                    );
                    assert_eq!(screen.lines().count(), usize::from(size.1));
                }
                rig.model.size = (80, 24);
            }
            rig.ctrl('c');
            rig.model.interrupted_ms = None;
        }
    }
}

#[test]
fn figures_are_dim_and_marked_once_the_node_is_away() {
    let mut rig = Rig::new(30, (160, 45));
    rig.keys("2");
    rig.second();
    rig.api.set_unreachable(true);
    for _ in 0..60 {
        rig.second();
    }
    let screen = rig.screen();
    let header = screen.lines().next().unwrap();
    assert!(
        header.contains("nodes ?/3") && header.contains("in -"),
        "{header}"
    );
    assert!(header.contains("30~"), "{header}");
    assert!(screen.contains("!! "), "{screen}");
    assert!(screen.contains("ams1"), "rows are kept: {screen}");
}

#[test]
fn histories_in_steps_of_ten_seconds_are_not_asked_for_every_second() {
    let mut rig = Rig::new(30, (160, 45));
    rig.api.clear_calls();
    for _ in 0..20 {
        rig.second();
    }
    assert_eq!(rig.called("history cluster").len(), 2);
    rig.keys("2");
    rig.api.clear_calls();
    for _ in 0..10 {
        rig.second();
    }
    assert_eq!(rig.called("config ").len(), 1, "{:?}", rig.api.calls());
}

#[test]
fn a_graph_grows_a_gap_while_the_node_is_away() {
    let mut rig = Rig::new(30, (80, 24));
    assert!(!rig.screen().contains('·'), "{}", rig.screen());
    rig.api.set_unreachable(true);
    for _ in 0..120 {
        rig.second();
    }
    let screen = rig.screen();
    assert!(screen.contains("·· │"), "{screen}");
}

#[test]
fn tab_goes_through_the_panels_and_enter_opens_what_they_are_about() {
    let mut rig = Rig::new(30, (80, 24));
    let mut seen = Vec::new();
    for _ in 0..7 {
        rig.press(KeyCode::Enter);
        let filter = rig.model.trail.last().unwrap().filter.clone();
        seen.push((rig.model.place().clone(), filter));
        rig.keys("1");
        rig.press(KeyCode::Tab);
    }
    assert_eq!(rig.model.pulse.panel, Panel::Sessions);
    let expected = [
        (Place::Sessions, ""),
        (Place::Sessions, ""),
        (Place::Refusals, "err=401"),
        (Place::Sessions, "transport=udp"),
        (Place::Nodes, "node=lon1"),
        (Place::Realm("globex".parse().unwrap()), ""),
        (Place::Events, ""),
    ]
    .map(|(place, filter)| (place, filter.to_owned()));
    assert_eq!(seen, expected);
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Tab);
    rig.keys("jjjjjjjjj");
    rig.press(KeyCode::Enter);
    assert_eq!(rig.model.lists.refusals.filter, "err=508");
}

#[test]
fn the_realm_sheet_leads_on_to_the_sessions_of_the_realm() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("5");
    rig.press(KeyCode::Enter);
    rig.second();
    let screen = rig.screen();
    assert!(screen.contains("2f9c01ab44de active   web"), "{screen}");
    rig.press(KeyCode::Enter);
    assert_eq!(rig.model.lists.sessions.filter, "realm=acme");
}

#[test]
fn a_node_behind_the_newest_settings_is_marked() {
    let mut rig = Rig::new(30, (160, 45));
    rig.api.edit_nodes(|nodes| nodes[1].config_revision = 1);
    rig.keys("2");
    rig.second();
    assert!(rig.screen().contains("1 <2"), "{}", rig.screen());
}

#[test]
fn refusals_of_a_session_stand_below_its_peers() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("3");
    let session = rig.model.lists.sessions.selected().unwrap().id;
    rig.api.edit_recent_refusals(|refusals| {
        refusals[2].session = Some(session);
        refusals[2].count = 2;
    });
    rig.press(KeyCode::Enter);
    let screen = rig.screen();
    assert!(
        screen.contains("denied: 10.0.0.5 (403 denied peer, 2x)"),
        "{screen}"
    );
}

#[test]
fn a_session_that_relays_tcp_tells_its_connections() {
    for (size, name) in [((80, 24), "tcp_80x24"), ((160, 45), "tcp_160x45")] {
        let mut rig = Rig::new(12, size);
        rig.api.edit_sessions(|sessions| {
            let session = &mut sessions[0];
            session.relay_transport = RelayTransport::Tcp;
            session.transport = Transport::Tls;
            session.mobile = true;
        });
        rig.line(":sessions relay_transport=tcp");
        rig.second();
        if size.0 == 160 {
            assert_snapshot!("sessions_tcp_160x45", rig.screen());
        }
        rig.press(KeyCode::Enter);
        rig.second();
        let screen = rig.screen();
        assert!(
            screen.contains("Peer connections 3 (1 bound), permissions 1"),
            "{screen}"
        );
        assert!(screen.contains("may move (RFC 8016)"), "{screen}");
        assert_snapshot!(name, screen);
    }
}

#[test]
fn a_node_tells_its_certificates_and_the_alert_leads_to_it() {
    let mut rig = Rig::new(12, (80, 24));
    let now = rig.model.now_ms;
    rig.api.edit_nodes(|nodes| {
        let certificate = |purpose: &str, days: u64| CertificateView {
            purpose: purpose.into(),
            file: format!("/etc/relayd/{purpose}.pem"),
            key: "ECDSA".into(),
            not_after_ms: now + days * 86_400_000 + 3_600_000,
            names: Vec::new(),
            problem: (days == 2).then(|| "the key is of another certificate".into()),
        };
        nodes[0].certificates = vec![certificate("tls", 61), certificate("admin", 2)];
    });
    rig.line(":nodes node=fra1");
    rig.second();
    let screen = rig.screen();
    let told = "certs    admin ECDSA 2d00 left, new one REFUSED   tls ECDSA 61d00 left";
    assert!(screen.contains(told), "{screen}");
}

#[test]
fn the_shares_of_all_four_transports_fit_a_narrow_screen() {
    let mut rig = Rig::new(12, (80, 24));
    let mut overview = rig.model.overview.clone().unwrap();
    overview.transports = [("udp", 7_055), ("tls", 1_480), ("tcp", 1_450), ("dtls", 15)]
        .map(|(name, count)| (name.to_owned(), count))
        .into();
    rig.model.overview = Some(overview);
    let screen = rig.screen();
    for share in ["udp 71%", "tls 15%", "tcp 14%", "dtls <1%"] {
        assert!(screen.contains(share), "{share}\n{screen}");
    }
}
