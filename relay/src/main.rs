//! `relayd`: reads its configuration, then relays until it is told to stop.
//!
//! Exit status: 0 after a clean stop, 1 when running failed, 2 for a wrong configuration.

use std::io::Write;
use std::process::ExitCode;

use relay::config::{Args, Config, LogOutput, Task, cluster_key};
use relay::node::{self, detach};
use relay::telemetry::log::Log;

/// Running failed.
const FAILED: u8 = 1;
/// The configuration is wrong, and nothing was started.
const BAD_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let args = Args::of_process();
    if args.task == Task::ClusterKey {
        return print_cluster_key();
    }
    if args.task == Task::Convert {
        return convert(&args);
    }
    let config = match Config::load(&args) {
        Ok(config) => config,
        Err(errors) => {
            say(&format!("{errors}\nrelayd: nothing was started"));
            return ExitCode::from(BAD_CONFIG);
        }
    };
    if args.task == Task::CheckConfig {
        for warning in &config.warnings {
            say(&format!("warning: {warning}"));
        }
        say("the configuration is valid");
        return ExitCode::SUCCESS;
    }
    if config.process.detach && !args.upgrade {
        if !detach::is_detached() {
            return start_detached();
        }
        if let Err(error) = detach::leave_terminal() {
            say(&format!("relayd: the terminal cannot be left: {error}"));
        }
    }
    run(&args, config)
}

fn start_detached() -> ExitCode {
    match detach::start() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            say(&format!("relayd: cannot go to the background: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

/// The file to stdout, everything else to stderr: the one can be sent to a file.
fn convert(args: &Args) -> ExitCode {
    let converted = match Config::convert(args) {
        Ok(converted) => converted,
        Err(errors) => {
            say(&format!("{errors}\nrelayd: nothing was written"));
            return ExitCode::from(BAD_CONFIG);
        }
    };
    for note in &converted.notes {
        say(note);
    }
    match std::io::stdout()
        .lock()
        .write_all(converted.toml.as_bytes())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("relayd: stdout: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn run(args: &Args, config: Config) -> ExitCode {
    let log = match Log::start(&config.log) {
        Ok(log) => log,
        Err(error) => {
            say(&format!("relayd: cannot log: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let is_hidden = config.log.output != LogOutput::Stderr;
    match node::run(config, args, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            if is_hidden {
                say(&format!("relayd: {error:#}"));
            }
            ExitCode::from(FAILED)
        }
    }
}

fn print_cluster_key() -> ExitCode {
    let printed =
        cluster_key::generate().and_then(|key| writeln!(std::io::stdout().lock(), "{key}"));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("relayd: no key: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

/// A line on stderr; one that nobody can read is nobody's loss.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
