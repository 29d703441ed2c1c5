//! `relayctl`: without a command the console, else the command line.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use relayctl::cli::turnadmin::{self, TurnadminArgs};
use relayctl::cli::{self, Cli, Command, Person, Terminal, code};
use tokio_util::sync::CancellationToken;

/// How long an interrupted command may take to clean up.
const CLEAN_END: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let (arguments, turnadmin) = turnadmin::split(env::args_os().collect());
    let mut cli = Cli::parse_from(arguments);
    if let Some(words) = turnadmin {
        cli.command = match TurnadminArgs::with(words) {
            Ok(args) => Some(Command::Turnadmin(args)),
            Err(failure) => {
                let _ = writeln!(io::stderr(), "relayctl: {failure}");
                return ExitCode::from(failure.code());
            }
        };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(io::stderr(), "relayctl: cannot start: {error}");
            return ExitCode::from(code::FAILURE);
        }
    };
    let code = runtime.block_on(run(cli));
    // A read of standard input cannot be cancelled; nothing of ours waits for it.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run(cli: Cli) -> u8 {
    let mut out = io::stdout();
    let mut err = io::stderr();
    let mut person = Person;
    let terminal = Terminal {
        out_is_terminal: out.is_terminal(),
        err_is_terminal: err.is_terminal(),
        out: &mut out,
        err: &mut err,
        asked: &mut person,
    };
    let environment = |name: &str| env::var_os(name);
    let Some(command) = cli.command else {
        return cli::console(&cli.global, &environment, terminal).await;
    };
    if command.ends_itself() {
        return cli::run(command, &cli.global, &environment, terminal).await;
    }
    let command = cli::run(command, &cli.global, &environment, terminal);
    let interrupted = CancellationToken::new();
    tokio::spawn(watch_interrupt(interrupted.clone()));
    tokio::select! {
        code = command => code,
        () = interrupted.cancelled() => code::INTERRUPTED,
    }
}

/// Runs beside the command, which may be blocked in a read of the terminal.
async fn watch_interrupt(interrupted: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        interrupted.cancel();
        tokio::time::sleep(CLEAN_END).await;
        std::process::exit(code::INTERRUPTED.into());
    }
}
