//! `tests/compare.sh` runs this: TURN servers side by side, and what was promised of `relayd`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints tables"
)]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kit::compare::machine::{Pinning, cores};
use kit::compare::{CASES, Case, Plan, Server, compare};

/// Compares TURN servers: what each costs per packet, in turns, on one core.
///
/// The exit code is 0 when everything was measured and every promise kept, 1 otherwise.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Rounds: in each, every server has its turn in every case
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Seconds that one run measures
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// This case only; may be given several times
    #[arg(long, value_parser = case, value_name = "CASE")]
    only: Vec<&'static Case>,
    /// These servers only [default: all that are installed]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    servers: Vec<Server>,
    /// The core of the server [default: the last one]
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// The core of the load that comes at a rate [default: the last but one]
    #[arg(long, value_name = "N")]
    other_core: Option<usize>,
    /// Milliseconds that the saturating load sleeps before it looks at what came
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    settle: f64,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Run everything briefly and judge no speed
    #[arg(long)]
    smoke: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = plan(&arguments);
    let results = compare(&plan, |line| eprintln!("{line}"))?;
    match arguments.output {
        Output::Table => println!("{results}"),
        Output::Json => println!("{:#}", results.json()),
    }
    let (missed, failed) = (results.missed(), results.failed());
    if failed > 0 {
        eprintln!("{failed} runs failed");
    } else if arguments.smoke {
        return Ok(ExitCode::SUCCESS);
    } else if missed == 0 {
        eprintln!("every promise was kept");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{missed} promises were not kept, or not measured");
    Ok(ExitCode::FAILURE)
}

fn plan(arguments: &Arguments) -> Plan {
    let installed = Server::ALL
        .into_iter()
        .filter(|server| server.program().is_some());
    let asked =
        |server: &Server| arguments.servers.is_empty() || arguments.servers.contains(server);
    let last = cores() - 1;
    let core = arguments.core.unwrap_or(last);
    let other_core = arguments.other_core.unwrap_or(last.saturating_sub(1));
    let all = || CASES.iter().collect();
    let only = arguments.only.clone();
    let smoke = arguments.smoke;
    Plan {
        cases: if only.is_empty() { all() } else { only },
        servers: installed.filter(asked).collect(),
        rounds: if smoke { 1 } else { arguments.rounds.into() },
        length: match smoke {
            true => Duration::from_millis(100),
            false => Duration::from_secs_f64(arguments.seconds),
        },
        settle: Duration::from_secs_f64(arguments.settle / 1e3),
        idle_sessions: if smoke { 100 } else { 9000 },
        pinning: Pinning::new(core, other_core),
    }
}

fn case(name: &str) -> Result<&'static Case, String> {
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    let found = CASES.iter().find(|case| case.name == name);
    found.ok_or_else(|| format!("one of {}", names.join(", ")))
}

fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "a number".to_owned())?;
    if (0.05..=60.0).contains(&number) {
        return Ok(number);
    }
    Err("between 0.05 and 60".to_owned())
}
