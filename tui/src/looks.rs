//! The table of looks: what each view of the console asks the node for, and the command that asks for
//! the same. Both run against a cluster of their own; the call of the table must be among theirs.
//!
//! A new [`Place`] does not compile without a look. It is compiled for tests only.

use crossterm::event::KeyCode;

use crate::cli::tests::{Script, run_as};
use crate::client::fake::FakeAdmin;
use crate::console::model::Place;
use crate::console::tests::Rig;

/// Defines the looks, and the list of all of them.
macro_rules! looks {
    ($($look:ident),* $(,)?) => {
        /// Something to look at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Look {
            $($look),*
        }

        const ALL: &[Look] = &[$(Look::$look),*];
    };
}

looks!(
    Pulse,
    Nodes,
    Sessions,
    Session,
    Users,
    Realms,
    Realm,
    Events,
    Audit,
    Refusals,
    RefusalCounts,
    Alerts,
    AlertRules,
    Redirects,
    Bans,
    OauthKeys,
    Config,
    Diff,
    Groups,
    Contexts,
);

/// The look of a place. No wildcard: a place without one does not compile.
fn of(place: &Place) -> Look {
    match place {
        Place::Pulse => Look::Pulse,
        Place::Nodes => Look::Nodes,
        Place::Sessions => Look::Sessions,
        Place::Session(_) => Look::Session,
        Place::Users => Look::Users,
        Place::Realms => Look::Realms,
        Place::Realm(_) => Look::Realm,
        Place::Events => Look::Events,
        Place::Audit => Look::Audit,
        Place::Refusals => Look::Refusals,
        Place::RefusalCounts => Look::RefusalCounts,
        Place::Alerts => Look::Alerts,
        Place::AlertRules => Look::AlertRules,
        Place::Redirects => Look::Redirects,
        Place::Bans => Look::Bans,
        Place::OauthKeys => Look::OauthKeys,
        Place::Config(_) => Look::Config,
        Place::Diff(..) => Look::Diff,
        Place::Groups(_) => Look::Groups,
        Place::Contexts => Look::Contexts,
    }
}

/// What is typed in the console (`\r` is Enter), the command, and the calls that both make.
type Forms = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// The forms of a look. No wildcard: a look without them does not compile.
fn table(look: Look) -> Forms {
    match look {
        Look::Nodes
        | Look::Sessions
        | Look::Session
        | Look::Users
        | Look::Realms
        | Look::Realm
        | Look::Groups => of_traffic(look),
        Look::Pulse
        | Look::Events
        | Look::Audit
        | Look::Refusals
        | Look::RefusalCounts
        | Look::Alerts
        | Look::AlertRules
        | Look::Redirects
        | Look::Bans
        | Look::OauthKeys
        | Look::Config
        | Look::Diff => of_the_fleet(look),
        // The configuration file is no business of a node.
        Look::Contexts => (":contexts\r", &[], &[]),
    }
}

fn of_traffic(look: Look) -> Forms {
    match look {
        Look::Nodes => (
            ":nodes node=fra1\r",
            &["node", "list", "-f", "node=fra1", "-s", "node:asc"],
            &["nodes filter=node=fra1 sort=node:asc"],
        ),
        Look::Sessions => (
            ":sessions user=bob\r",
            &["session", "list", "-f", "user=bob", "-s", "rate:desc"],
            &["sessions filter=user=bob sort=rate:desc"],
        ),
        Look::Session => (
            ":session 7f3a900000000001\r",
            &["session", "show", "7f3a900000000001"],
            &["session 7f3a900000000001"],
        ),
        Look::Users => (
            ":users user=bob\r",
            &["user", "list", "-f", "user=bob", "-s", "sessions:desc"],
            &["users filter=user=bob sort=sessions:desc"],
        ),
        Look::Realms => (
            ":realms realm=acme\r",
            &["realm", "list", "-f", "realm=acme", "-s", "sessions:desc"],
            &["realms filter=realm=acme sort=sessions:desc"],
        ),
        Look::Realm => (
            ":realms realm=acme\r\r",
            &["realm", "show", "acme"],
            &["realm acme"],
        ),
        _ => (
            ":top client user=bob\r",
            &[
                "session",
                "top",
                "--by",
                "client",
                "-f",
                "user=bob",
                "-s",
                "rate:desc",
            ],
            &["groups by=client filter=user=bob sort=rate:desc"],
        ),
    }
}

fn of_the_fleet(look: Look) -> Forms {
    match look {
        Look::Pulse => ("1", &["overview"], &["overview"]),
        Look::Events => ("6", &["event", "list"], &["events limit=200"]),
        Look::Audit => (
            ":audit action=user.put\r",
            &["audit", "-f", "action=user.put", "-s", "time:desc"],
            &["audit filter=action=user.put sort=time:desc"],
        ),
        Look::Refusals => (
            ":refusals user=bob\r",
            &["refusals", "--recent", "-f", "user=bob", "-s", "time:desc"],
            &["recent_refusals filter=user=bob sort=time:desc"],
        ),
        Look::RefusalCounts => (
            ":refusals\r\t",
            &["refusals", "-s", "count:desc"],
            &["refusals sort=count:desc"],
        ),
        Look::Alerts => (
            ":alerts node=lon1\r",
            &["alert", "list", "-f", "node=lon1", "-s", "severity:desc"],
            &["alerts filter=node=lon1 sort=severity:desc"],
        ),
        Look::AlertRules => (":rules\r", &["alert", "rules"], &["alert_rules"]),
        Look::Redirects => (
            ":redirects node=fra1\r",
            &["redirect", "list", "-f", "node=fra1", "-s", "transport:asc"],
            &["redirects filter=node=fra1 sort=transport:asc"],
        ),
        Look::Bans => (":bans\r", &["ban", "list"], &["bans"]),
        Look::OauthKeys => (":oauth-keys\r", &["oauth", "key", "list"], &["oauth_keys"]),
        Look::Config => (
            ":config fra1\r",
            &["config", "show", "fra1"],
            &["config fra1"],
        ),
        _ => (
            ":diff fra1 ams1\r",
            &["config", "diff", "fra1", "ams1"],
            &["config fra1", "config ams1"],
        ),
    }
}

#[test]
fn every_view_asks_for_what_its_command_asks_for() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for look in ALL {
        let (keys, command, calls) = table(*look);
        let mut rig = Rig::new(12, (80, 24));
        for key in keys.chars() {
            rig.press(match key {
                '\r' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                key => KeyCode::Char(key),
            });
        }
        rig.second();
        assert_eq!(of(rig.model.place()), *look, "{keys:?}\n{}", rig.screen());
        let api = FakeAdmin::with_sessions(12);
        if !command.is_empty() {
            let mut script = Script::default();
            let ran = runtime.block_on(run_as(&api, &mut script, command));
            assert_eq!(ran.code, 0, "{command:?}: {}", ran.err);
        }
        for call in calls {
            let (console, twin) = (rig.api.calls(), api.calls());
            let made = |calls: &[String]| calls.iter().any(|made| made == call);
            assert!(made(&console), "{look:?}: no {call:?} in {console:#?}");
            assert!(made(&twin), "{look:?}: no {call:?} in {twin:#?}");
        }
    }
}
