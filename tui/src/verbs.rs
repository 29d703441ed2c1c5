//! The table of verbs: whatever changes something, as the console does it and as the command line
//! does it. Both forms run against a cluster of their own and must make the same calls.
//!
//! A new [`Action`] does not compile without a [`Verb`], nor a new verb without both of its forms.
//! It is compiled for tests only.

mod fleet;

use crossterm::event::KeyCode;
use shared::api::{BlockRequest, ConfigPatch, SessionsKill};

use crate::cli::tests::{Script, run_as};
use crate::client::fake::FakeAdmin;
use crate::client::{AdminApi as _, ConfigScope, FleetApi as _};
use crate::console::message::Action;
use crate::console::tests::Rig;
use crate::guardrails::ACTIONS;

use fleet::{bans, drains, fleet, oauth_keys};

/// Defines the verbs, and the list of all of them.
macro_rules! verbs {
    ($($verb:ident),* $(,)?) => {
        /// Something that can be done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Verb {
            $($verb),*
        }

        const ALL: &[Verb] = &[$(Verb::$verb),*];
    };
}

verbs!(
    KillOne,
    KillMany,
    StopJob,
    Block,
    Unblock,
    AddUser,
    SetPassword,
    EditUser,
    DeleteUser,
    AddRealm,
    EditRealm,
    EditRealmInEditor,
    UndoRealm,
    AddSecret,
    DeleteSecret,
    ActivateSecret,
    RetireSecret,
    SetSetting,
    RemoveOverride,
    SetLogLevel,
    SetAlertRule,
    Drain,
    Undrain,
    Upgrade,
    AddRedirect,
    RemoveRedirect,
    AddBan,
    RemoveBan,
    AddOauthKey,
    DeleteOauthKey,
);

/// What guardrails and the audit know and the console has no form for: it is scripts' work. A
/// credential is minted by the self-test only, which is no single call.
const COMMAND_LINE_ONLY: [&str; 7] = [
    "realm.delete",
    "realm.import",
    "realm.reveal",
    "token.create",
    "token.delete",
    "credential.mint",
    "node.forget",
];

/// Both forms of a verb.
struct Forms {
    /// Its name in the audit.
    action: &'static str,
    /// What is there before, on both sides.
    before: fn(&FakeAdmin),
    /// What is there besides where the console makes it itself on its way.
    before_command: fn(&FakeAdmin),
    /// What is typed in the console: characters, and keys by name as in `<tab>`.
    keys: &'static str,
    /// The command line.
    command: &'static [&'static str],
    /// What comes from standard input.
    piped: &'static str,
    /// What is done in an editor.
    edit: fn(&str) -> String,
}

const fn forms(
    action: &'static str,
    keys: &'static str,
    command: &'static [&'static str],
) -> Forms {
    Forms {
        action,
        before: |_| {},
        before_command: |_| {},
        keys,
        command,
        piped: "",
        edit: |text| panic!("no editor is needed for {text}"),
    }
}

/// The verb of an action. No wildcard: an action without a verb does not compile.
fn of(action: &Action) -> &'static [Verb] {
    match action {
        Action::Kill(..) => &[Verb::KillOne],
        Action::KillMany(_) => &[Verb::KillMany],
        Action::StopJob(_) => &[Verb::StopJob],
        Action::Block(..) => &[Verb::Block],
        Action::Unblock(..) => &[Verb::Unblock],
        Action::PutUser(..) => &[Verb::AddUser, Verb::SetPassword],
        Action::PatchUser(..) => &[Verb::EditUser],
        Action::DeleteUser(..) => &[Verb::DeleteUser],
        Action::PutRealm(..) => &[Verb::AddRealm, Verb::EditRealm, Verb::EditRealmInEditor],
        Action::UndoRealm(..) => &[Verb::UndoRealm],
        Action::CreateSecret(..) => &[Verb::AddSecret],
        Action::DeleteSecret(..) => &[Verb::DeleteSecret],
        Action::PatchSecret(..) => &[Verb::ActivateSecret, Verb::RetireSecret],
        Action::PatchConfig(..) => &[Verb::SetSetting, Verb::RemoveOverride, Verb::SetLogLevel],
        Action::PatchRule(..) => &[Verb::SetAlertRule],
        Action::Drain(..) => &[Verb::Drain],
        Action::Undrain(..) => &[Verb::Undrain],
        Action::Upgrade(..) => &[Verb::Upgrade],
        Action::CreateRedirect(_) => &[Verb::AddRedirect],
        Action::DeleteRedirect(..) => &[Verb::RemoveRedirect],
        Action::CreateBan(_) => &[Verb::AddBan],
        Action::DeleteBan(..) => &[Verb::RemoveBan],
        Action::PutOauthKey(..) => &[Verb::AddOauthKey],
        Action::DeleteOauthKey(..) => &[Verb::DeleteOauthKey],
    }
}

/// The forms of a verb. No wildcard: a verb without them does not compile.
fn table(verb: Verb) -> Forms {
    match verb {
        Verb::KillOne | Verb::KillMany | Verb::StopJob => sessions(verb),
        Verb::Block | Verb::Unblock => blocks(verb),
        Verb::AddUser | Verb::SetPassword | Verb::EditUser | Verb::DeleteUser => users(verb),
        Verb::AddRealm
        | Verb::EditRealm
        | Verb::EditRealmInEditor
        | Verb::UndoRealm
        | Verb::AddSecret
        | Verb::DeleteSecret => realms(verb),
        Verb::ActivateSecret | Verb::RetireSecret => secrets(verb),
        Verb::SetSetting | Verb::RemoveOverride | Verb::SetLogLevel => settings(verb),
        Verb::Drain | Verb::Undrain | Verb::Upgrade => drains(verb),
        Verb::SetAlertRule | Verb::AddRedirect | Verb::RemoveRedirect => fleet(verb),
        Verb::AddBan | Verb::RemoveBan => bans(verb),
        Verb::AddOauthKey | Verb::DeleteOauthKey => oauth_keys(verb),
    }
}

fn sessions(verb: Verb) -> Forms {
    match verb {
        Verb::KillOne => forms(
            "session.kill",
            ":sessions id=7f3a900000000001<enter>X<tab><tab>abuse<tab>10m<tab>y",
            &[
                "session",
                "kill",
                "7f3a900000000001",
                "--block",
                "10m",
                "--reason",
                "abuse",
            ],
        ),
        Verb::KillMany => forms(
            "sessions.kill",
            ":sessions id=7f3a900000000001|7f3a900000000004<enter>aX<tab><tab>abuse<tab><clear>20<tab><tab>2<tab>y",
            &[
                "session",
                "kill",
                "7f3a900000000004",
                "7f3a900000000001",
                "--rate",
                "20",
                "--reason",
                "abuse",
            ],
        ),
        _ => Forms {
            before: FakeAdmin::hold_jobs,
            before_command: |api| {
                let request = SessionsKill {
                    filter: Some("id=00".to_owned()),
                    ..SessionsKill::default()
                };
                done(api.start_kill_job(&request));
            },
            ..forms(
                "job.stop",
                ":sessions id=7f3a900000000001<enter>aX<tab><tab><tab><tab><tab>1<tab>y<tab><enter>",
                &["job", "stop", "job-1"],
            )
        },
    }
}

fn blocks(verb: Verb) -> Forms {
    match verb {
        Verb::Block => forms(
            "block.put",
            ":users user=bob realm=acme<enter>B<tab><tab><clear>1h<tab>spam<tab>y",
            &[
                "user", "block", "bob", "-r", "acme", "--for", "1h", "--reason", "spam",
            ],
        ),
        _ => Forms {
            before: |api| {
                let request = BlockRequest {
                    secs: 9_000,
                    reason: String::new(),
                };
                done(api.put_block(&"acme".parse().unwrap(), "bob", &request));
            },
            ..forms(
                "block.delete",
                ":users user=bob realm=acme<enter>B<backtab>sorry<tab>y",
                &["user", "unblock", "bob", "-r", "acme", "--reason", "sorry"],
            )
        },
    }
}

fn users(verb: Verb) -> Forms {
    match verb {
        Verb::AddUser => Forms {
            piped: "correct horse",
            ..forms(
                "user.put",
                ":users<enter>N<clear>acme<tab>zoe<tab>correct horse<tab>correct horse<tab>new<tab>y",
                &[
                    "user",
                    "add",
                    "zoe",
                    "-r",
                    "acme",
                    "--password-stdin",
                    "--reason",
                    "new",
                ],
            )
        },
        Verb::SetPassword => Forms {
            piped: "correct horse",
            ..forms(
                "user.put",
                ":users user=bob realm=acme<enter>Wcorrect horse<tab>correct horse<tab>lost<tab>y",
                &[
                    "user",
                    "passwd",
                    "bob",
                    "-r",
                    "acme",
                    "--password-stdin",
                    "--reason",
                    "lost",
                ],
            )
        },
        Verb::EditUser => forms(
            "user.patch",
            ":users user=bob realm=acme<enter>E<clear>3<tab><clear>5M<tab> <tab><clear>vip<tab>asked<tab>y",
            &[
                "user",
                "edit",
                "bob",
                "-r",
                "acme",
                "--max-sessions",
                "3",
                "--max-rate-bps",
                "5M",
                "--disable",
                "--note",
                "vip",
                "--reason",
                "asked",
            ],
        ),
        _ => forms(
            "user.delete",
            ":users user=bob realm=acme<enter>Z<backtab>gone<tab>y",
            &["user", "rm", "bob", "-r", "acme", "--reason", "gone"],
        ),
    }
}

fn realms(verb: Verb) -> Forms {
    match verb {
        Verb::AddRealm => forms(
            "realm.put",
            ":realms<enter>Nfresh<backtab><backtab><backtab>asked<tab>yy",
            &["realm", "add", "fresh", "--reason", "asked"],
        ),
        Verb::EditRealm => forms(
            "realm.put",
            ":realms realm=acme<enter>E<clear>500<backtab><backtab><backtab>asked<tab>yy",
            &[
                "realm",
                "set",
                "acme",
                "max_sessions=500",
                "--reason",
                "asked",
            ],
        ),
        Verb::EditRealmInEditor => Forms {
            edit: |text| text.replace("per_user = 12", "per_user = 7"),
            ..forms(
                "realm.put",
                ":realms realm=acme<enter>V<backtab>asked<tab>y",
                &["realm", "edit", "acme", "--reason", "asked"],
            )
        },
        Verb::UndoRealm => forms(
            "realm.undo",
            ":realms realm=acme<enter>U<backtab>wrong<tab>y",
            &["realm", "undo", "acme", "--reason", "wrong"],
        ),
        Verb::AddSecret => forms(
            "secret.create",
            ":realms realm=acme<enter>S<tab><tab> <tab><tab><tab><tab>y<tab><tab>web2<tab><tab>yearly<tab>y",
            &[
                "secret", "add", "-r", "acme", "--label", "web2", "--reason", "yearly",
            ],
        ),
        _ => forms(
            "secret.delete",
            ":realms realm=acme<enter>S<backtab>2f9c<tab>y<backtab>leaked<tab>y",
            &["secret", "rm", "2f9c", "-r", "acme", "--reason", "leaked"],
        ),
    }
}

fn secrets(verb: Verb) -> Forms {
    match verb {
        Verb::ActivateSecret => forms(
            "secret.patch",
            ":realms realm=acme<enter>S<backtab><backtab><backtab>2f9c<tab><tab><tab>y<backtab>back<tab>y",
            &[
                "secret", "activate", "2f9c", "-r", "acme", "--reason", "back",
            ],
        ),
        _ => forms(
            "secret.patch",
            ":realms realm=acme<enter>S<backtab><backtab>2f9c<tab><tab>y<backtab>old<tab>y",
            &["secret", "retire", "2f9c", "-r", "acme", "--reason", "old"],
        ),
    }
}

fn settings(verb: Verb) -> Forms {
    match verb {
        Verb::SetSetting => forms(
            "config.set",
            ":config fra1<enter>/key=log.level<enter>E<clear>debug<tab> <tab><tab>look<tab>yy",
            &[
                "config",
                "set",
                "log.level=debug",
                "--all",
                "--reason",
                "look",
            ],
        ),
        Verb::RemoveOverride => Forms {
            before: |api| {
                let patch = ConfigPatch {
                    set: [("log.level".to_owned(), "trace".into())].into(),
                    ..ConfigPatch::default()
                };
                done(api.patch_config(&ConfigScope::Node("fra1".parse().unwrap()), 0, &patch));
            },
            ..forms(
                "config.set",
                ":config fra1<enter>/key=log.level<enter>E<tab><tab> <tab>seen<tab>yy",
                &[
                    "config",
                    "unset",
                    "log.level",
                    "--node",
                    "fra1",
                    "--reason",
                    "seen",
                ],
            )
        },
        _ => forms(
            "config.set",
            ":nodes node=lon1<enter>L<clear>debug<tab><tab>look<tab>yy",
            &["node", "log-level", "lon1", "debug", "--reason", "look"],
        ),
    }
}

/// Waits for what the double does at once.
fn done<T, E: std::fmt::Debug>(call: impl Future<Output = Result<T, E>>) {
    futures_util::FutureExt::now_or_never(call)
        .unwrap()
        .unwrap();
}

/// Presses what `keys` says.
fn press(rig: &mut Rig, keys: &str) {
    let mut rest = keys;
    while let Some(c) = rest.chars().next() {
        let Some((name, behind)) = rest.strip_prefix('<').and_then(|key| key.split_once('>'))
        else {
            rig.press(KeyCode::Char(c));
            rest = &rest[c.len_utf8()..];
            continue;
        };
        match name {
            "tab" => rig.press(KeyCode::Tab),
            "backtab" => rig.press(KeyCode::BackTab),
            "enter" => rig.press(KeyCode::Enter),
            "clear" => rig.ctrl('u'),
            other => panic!("no key is called {other}"),
        }
        rest = behind;
    }
}

/// The last change that the console makes, and the screen after it.
fn by_console(verb: Verb) -> (String, String) {
    let forms = table(verb);
    let mut rig = Rig::writable(12);
    (forms.before)(&rig.api);
    rig.second();
    let edit = forms.edit;
    rig.edits.push_back(Box::new(move |text| Ok(edit(text))));
    press(&mut rig, forms.keys);
    let known = rig.acted.last().map_or(&[][..], of);
    assert!(
        known.contains(&verb),
        "{verb:?} did {known:?}\n{}",
        rig.screen()
    );
    let last = rig.api.changes().last().cloned().unwrap_or_default();
    (last, rig.screen())
}

/// The last change that the command makes, and what it said.
async fn by_command(verb: Verb) -> (String, String) {
    let forms = table(verb);
    let api = FakeAdmin::with_sessions(12);
    (forms.before)(&api);
    (forms.before_command)(&api);
    let edit = forms.edit;
    let mut script = Script::default();
    script.answers.push_back(forms.piped.to_owned());
    script
        .edits
        .push_back(Box::new(move |text: &str| edit(text)));
    let command = [forms.command, &["--yes"]].concat();
    let ran = run_as(&api, &mut script, &command).await;
    assert_eq!(ran.code, 0, "{command:?}: {}", ran.err);
    let last = api.changes().last().cloned().unwrap_or_default();
    (last, ran.out + &ran.err)
}

#[test]
fn every_verb_makes_the_same_call_from_the_console_and_the_command_line() {
    for verb in ALL {
        let (console, screen) = by_console(*verb);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let (command, said) = runtime.unwrap().block_on(by_command(*verb));
        assert!(!console.is_empty(), "{verb:?}\n{screen}");
        assert_eq!(console, command, "{verb:?}\n{screen}\n{said}");
        let reason = table(*verb)
            .command
            .iter()
            .skip_while(|word| **word != "--reason")
            .nth(1);
        if let Some(reason) = reason {
            assert!(
                console.contains(reason),
                "{verb:?} tells no reason: {console}"
            );
        }
    }
}

#[test]
fn every_action_that_guardrails_know_has_a_verb_or_is_for_scripts_only() {
    for action in ACTIONS {
        let by_verb = ALL.iter().any(|verb| table(*verb).action == action);
        assert_ne!(by_verb, COMMAND_LINE_ONLY.contains(&action), "{action}");
    }
    for verb in ALL {
        // Nothing stands in the way of stopping a job.
        let action = table(*verb).action;
        assert!(
            ACTIONS.contains(&action) || action == "job.stop",
            "{action}"
        );
    }
}
