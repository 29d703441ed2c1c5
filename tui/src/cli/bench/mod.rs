//! `relayctl bench`: load for any TURN server, and what it costs it.

mod arguments;

use std::sync::Arc;

use shared::Transport;
use shared::units::grouped;

use super::App;
use super::args::Global;
use super::exit::Failure;
use super::output::{Selection, Shows};
use super::permit::Ask;
use super::terminal::Terminal;
use super::turn::{LoginArgs, expiry, password_login};
use crate::bench::plan::{Logins, Place, Source, Stop};
use crate::bench::{self, BenchError, Progress};
use crate::guardrails::Deed;
use crate::turn::Login;
use crate::turn::check::{CheckOptions, Stage, Verdict};
use crate::turn::resolve::{Dns, resolve};

pub use arguments::BenchCommand;
use arguments::{PlaceArgs, Sources};

/// The user of sessions whose user is not named.
const USER: &str = "relayctl-bench";
/// How long credentials are good that are made for a run.
const TTL_SECS: u64 = 24 * 60 * 60;

/// Runs it with the node of `app`, which mints the credential.
pub(super) async fn run(app: &mut App<'_, '_>, command: &BenchCommand) -> Result<(), Failure> {
    let args = command.place();
    let Some(realm) = args.login.realm() else {
        return run_alone(command, app.global, app.terminal).await;
    };
    let deed = Deed::of_realm("credential.mint", realm);
    app.permit(&deed, "A credential is minted.", Ask::Nothing)?;
    let login = args.login.minted(app, realm, TTL_SECS).await?;
    let logins = Logins::One(Arc::new(login));
    measure(command, logins, app.global, app.terminal).await
}

/// Runs it without a node.
pub(super) async fn run_alone(
    command: &BenchCommand,
    global: &Global,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let logins = logins(&command.place().login, terminal)?;
    measure(command, logins, global, terminal).await
}

/// What the command line gives sessions to log in with.
fn logins(args: &LoginArgs, terminal: &mut Terminal<'_>) -> Result<Logins, Failure> {
    if let Some(secret) = args.secret(terminal)? {
        return Ok(Logins::Each {
            secret,
            expiry: expiry(TTL_SECS),
            user: args.user().unwrap_or(USER).to_owned(),
        });
    }
    let login: Option<Login> = password_login(args, terminal)?;
    Ok(login.map_or(Logins::None, |login| Logins::One(Arc::new(login))))
}

async fn measure(
    command: &BenchCommand,
    logins: Logins,
    global: &Global,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let place = place(command.place(), logins, global).await?;
    end_on_signals(place.stop.clone());
    // From here on this thread measures; the runtime only listens for signals.
    match command {
        BenchCommand::Relay(args) => {
            let plan = args.plan();
            let report = watched(terminal, |observer| bench::relay(&place, &plan, observer))?;
            show(&report, global, terminal)?;
            report
                .fault()
                .map_or(Ok(()), |fault| Err(Failure::Other(fault)))
        }
        BenchCommand::Churn(args) => {
            let plan = args.plan();
            let report = watched(terminal, |observer| bench::churn(&place, &plan, observer))?;
            show(&report, global, terminal)
        }
        BenchCommand::Idle(args) => {
            let plan = args.plan();
            let report = watched(terminal, |observer| bench::idle(&place, &plan, observer))?;
            show(&report, global, terminal)
        }
        BenchCommand::Binding(args) => {
            let plan = args.plan();
            let report = watched(terminal, |observer| bench::binding(&place, &plan, observer))?;
            show(&report, global, terminal)
        }
    }
}

/// Runs `bench` with a line of progress for a person.
fn watched<T>(
    terminal: &mut Terminal<'_>,
    bench: impl FnOnce(&mut dyn FnMut(&Progress)) -> Result<T, BenchError>,
) -> Result<T, Failure> {
    let (err, live) = (&mut *terminal.err, terminal.err_is_terminal);
    let mut shown = false;
    let result = bench(&mut |progress| {
        if live {
            shown = true;
            let _ = write!(err, "\r\u{1b}[K{}", describe(progress));
            let _ = err.flush();
        }
    });
    if shown {
        let _ = write!(err, "\r\u{1b}[K");
    }
    Ok(result?)
}

fn describe(progress: &Progress) -> String {
    match *progress {
        Progress::SettingUp { sessions } => format!("making {} sessions", grouped(sessions as u64)),
        Progress::Relaying { up, down, missing } => {
            let (up, down, missing) = (grouped(up), grouped(down), grouped(missing));
            format!("{up} up, {down} down, {missing} on their way or lost")
        }
        Progress::Cycling { cycles, failed } => {
            format!("{} cycles, {} failed", grouped(cycles), grouped(failed))
        }
        Progress::Holding { sessions } => format!("holding {} sessions", grouped(sessions as u64)),
        Progress::Asking { answers, missing } => {
            let (answers, missing) = (grouped(answers), grouped(missing));
            format!("{answers} answers, {missing} on their way or lost")
        }
    }
}

fn show<T: Shows>(report: &T, global: &Global, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let selection = Selection::new(global.output, &global.fields, global.ascii)?;
    Ok(selection.write_one(terminal.out, super::app::now_ms(), report)?)
}

/// Finds the server.
async fn place(args: &PlaceArgs, logins: Logins, global: &Global) -> Result<Place, Failure> {
    let names = args.dns.map_or_else(Dns::system, Dns::server);
    let found = resolve(&args.uri, &names).await;
    let Some(target) = found.targets.into_iter().next() else {
        return Err(Failure::Check {
            code: Verdict::Resolve.exit_code(),
            text: format!("{}: {}", Stage::Resolve.as_str(), found.notes.join("; ")),
        });
    };
    let server = target.address;
    let local = server.is_ipv4() && server.ip().is_loopback();
    let shareable = target.transport == Transport::Udp && server.is_ipv4();
    let source = match args.source {
        Some(Sources::Network(_)) if !shareable => {
            let what = "--source is for UDP over IPv4: one socket speaks for all its addresses";
            return Err(Failure::Usage(what.to_owned()));
        }
        Some(Sources::Network(source)) => Some(source),
        Some(Sources::Sockets) => None,
        None => (local && shareable).then_some(Source::LOOPBACK),
    };
    Ok(Place {
        server,
        transport: target.transport,
        host: args.uri.host.to_string(),
        tls: args.tls.options()?,
        logins,
        source,
        receive_segments: !args.no_receive_segments,
        pid: args.pid,
        patience: global.timeout.unwrap_or(CheckOptions::default().patience),
        stop: Stop::default(),
    })
}

/// Lets the first signal end the run: sessions are released.
fn end_on_signals(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let stop = stop.clone();
        if let Ok(mut signals) = signal(kind) {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    stop.stop();
                }
            });
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Plan(text) => Self::Usage(text),
            BenchError::Io(error) => Self::Io(error),
            BenchError::Interrupted => Self::Io(std::io::ErrorKind::Interrupted.into()),
            BenchError::Server { verdict, .. } => Self::Check {
                code: verdict.exit_code(),
                text: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(err_is_terminal: bool) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
            asked: &mut crate::cli::Person,
            out_is_terminal: false,
            err_is_terminal,
        };
        let done = watched(&mut terminal, |observer| {
            observer(&Progress::SettingUp { sessions: 1000 });
            observer(&Progress::Relaying {
                up: 12_345,
                down: 6,
                missing: 7,
            });
            Ok(5)
        });
        assert!(matches!(done, Ok(5)) && out.is_empty());
        String::from_utf8(err).unwrap()
    }

    #[test]
    fn a_person_sees_how_far_it_is_and_a_file_does_not() {
        let clear = "\r\u{1b}[K";
        let lines = "making 1,000 sessions\n12,345 up, 6 down, 7 on their way or lost";
        let expected: String = lines.lines().map(|line| format!("{clear}{line}")).collect();
        assert_eq!(shown(true), format!("{expected}{clear}"));
        assert_eq!(shown(false), "");
    }
}
