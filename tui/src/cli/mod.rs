//! The command line without the console.
//!
//! One file per noun; [`run`] connects, runs the command and turns its end into an exit code.

pub mod about;
pub mod alert;
pub mod app;
pub mod args;
mod audit;
mod ban;
pub mod bench;
pub mod config;
pub mod context;
pub mod credential;
pub mod data;
mod documents;
mod drain;
pub mod event;
pub mod exit;
pub mod generate;
pub mod history;
pub mod info;
pub mod job;
mod kill;
pub mod node;
pub mod oauth;
pub mod output;
mod permit;
pub mod realm;
pub mod redirect;
pub mod refusals;
pub mod secret;
pub mod session;
pub mod snapshot;
mod switchboard;
pub mod terminal;
pub mod token;
pub mod turn;
pub mod turnadmin;
pub mod upgrade;
mod user;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{HttpAdmin, Prompting};
use crate::configuration::{Configuration, Looks};
use crate::console::ConsoleOptions;
use crate::contexts::{self, Confirm, Contexts, Environment, Resolved};

pub use app::App;
pub use args::{Cli, Command, Global};
pub use exit::{Failure, code};
pub use output::Format;
pub use terminal::{Asked, Person, Terminal};

/// Runs `command` to its end and returns the exit code. What went wrong is told on standard error.
pub async fn run(
    command: Command,
    global: &Global,
    env: Environment<'_>,
    terminal: Terminal<'_>,
) -> u8 {
    let mut terminal = terminal;
    let result = Box::pin(dispatch(command, global, env, &mut terminal)).await;
    finish(result, &mut terminal)
}

/// Tells what went wrong and returns the exit code.
fn finish(result: Result<(), Failure>, terminal: &mut Terminal<'_>) -> u8 {
    match result {
        Ok(()) => code::OK,
        Err(failure) => {
            if !failure.is_silent() {
                terminal.note(&format!("relayctl: {failure}"));
            }
            failure.code()
        }
    }
}

/// The configuration file in force.
#[must_use]
pub fn config_path(global: &Global, env: Environment<'_>) -> PathBuf {
    global
        .config
        .clone()
        .unwrap_or_else(|| contexts::default_path(env))
}

/// Finds the node that the command line, the environment and the configuration file mean.
///
/// # Errors
/// As [`Contexts::load`] and [`Contexts::resolve`].
pub fn resolve(global: &Global, env: Environment<'_>) -> Result<Resolved, Failure> {
    let contexts = Contexts::load(&config_path(global, env))?;
    let mut resolved = contexts.resolve(global.named(), env)?;
    if let Some(timeout) = global.timeout {
        resolved.options.call_timeout = timeout;
        resolved.options.connect_timeout = timeout.min(Duration::from_secs(2));
    }
    Ok(resolved)
}

async fn dispatch(
    command: Command,
    global: &Global,
    env: Environment<'_>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    if let Command::Context(command) = command {
        return context::run(&command, global, env, terminal);
    }
    match &command {
        Command::Info(args) => return info::run(args, global, env, terminal),
        Command::Completion(args) => return generate::completion(args, terminal),
        Command::Man(args) => return generate::man(args, terminal),
        Command::Turn(command) if !command.needs_node() => {
            return Box::pin(turn::run_alone(command, global, terminal)).await;
        }
        Command::Bench(command) if !command.needs_node() => {
            return Box::pin(bench::run_alone(command, global, terminal)).await;
        }
        _ => {}
    }
    let turnadmin = match &command {
        Command::Turnadmin(args) => {
            let deeds = args.read(env, terminal)?;
            if deeds.run_alone(terminal)? {
                return Ok(());
            }
            Some(deeds)
        }
        _ => None,
    };
    let mut resolved = resolve(global, env)?;
    let guardrails = std::mem::take(&mut resolved.guardrails);
    let api = connect(resolved, terminal)?;
    api.open().await?;
    let app = &mut App::new(&api, global, guardrails, terminal);
    if let Command::Snapshot(args) = &command {
        let configuration = Configuration::load(&config_path(global, env))?;
        let looks = looks(&configuration, global, env)?;
        return snapshot::run(app, args, &configuration, &looks).await;
    }
    if let Some(deeds) = turnadmin {
        return Box::pin(turnadmin::run(app, &deeds)).await;
    }
    run_with(command, app).await
}

/// The node that was found.
fn connect(resolved: Resolved, terminal: &Terminal<'_>) -> Result<HttpAdmin, Failure> {
    let Resolved {
        address,
        mut options,
        ..
    } = resolved;
    if terminal.asked.is_person() {
        options.prompting = Prompting::Allowed;
    }
    Ok(HttpAdmin::new(address, options)?)
}

/// Opens the console and returns the exit code.
pub async fn console(global: &Global, env: Environment<'_>, terminal: Terminal<'_>) -> u8 {
    let mut terminal = terminal;
    let result = Box::pin(open_console(global, env, &mut terminal)).await;
    finish(result, &mut terminal)
}

async fn open_console(
    global: &Global,
    env: Environment<'_>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    if !terminal.out_is_terminal || !terminal.asked.is_person() {
        let what = "the console needs a terminal; `relayctl --help` lists what works without one";
        return Err(Failure::Usage(what.to_owned()));
    }
    let configuration = Configuration::load(&config_path(global, env))?;
    let looks = looks(&configuration, global, env)?;
    let mut resolved = resolve(global, env)?;
    let guardrails = std::mem::take(&mut resolved.guardrails);
    let (context, rw) = (resolved.name.clone(), global.rw || resolved.rw);
    let confirm_typed = resolved.confirm == Confirm::Type;
    let api = connect(resolved, terminal)?;
    if let Err(error) = api.open().await {
        // The console starts anyway and keeps trying.
        terminal.note(&error.to_string());
    }
    let confirm_always = configuration.console.confirm == Confirm::Type;
    let options = ConsoleOptions {
        api: Arc::new(api),
        context,
        rw,
        configuration,
        looks,
        confirm_typed,
        guardrails,
        switchboard: Some(Arc::new(switchboard::FileContexts {
            path: config_path(global, env),
            confirm_always,
        })),
    };
    crate::console::run(options)
        .await
        .map_err(|error| Failure::Other(error.to_string()))
}

/// How to paint, as the options, the environment and the configuration have it.
fn looks(
    configuration: &Configuration,
    global: &Global,
    env: Environment<'_>,
) -> Result<Looks, Failure> {
    Looks::new(configuration, global.theme.as_deref(), global.ascii, env).map_err(Failure::Usage)
}

/// Runs `command` against the node of `app`.
async fn run_with(command: Command, app: &mut App<'_, '_>) -> Result<(), Failure> {
    match command {
        Command::Node(command) => Box::pin(node::run(app, &command)).await,
        Command::Session(command) => Box::pin(session::run(app, &command)).await,
        Command::User(command) => Box::pin(user::run(app, &command)).await,
        Command::Realm(command) => Box::pin(realm::run(app, &command)).await,
        Command::Secret(command) => Box::pin(secret::run(app, &command)).await,
        Command::Event(command) => Box::pin(event::run(app, &command)).await,
        Command::Oauth(command) => Box::pin(oauth::run(app, &command)).await,
        Command::Token(command) => Box::pin(token::run(app, &command)).await,
        Command::Credential(command) => Box::pin(credential::run(app, &command)).await,
        Command::Turn(command) => Box::pin(turn::run(app, &command)).await,
        Command::Bench(command) => Box::pin(bench::run(app, &command)).await,
        Command::Job(command) => Box::pin(job::run(app, &command)).await,
        Command::Config(command) => Box::pin(config::run(app, &command)).await,
        Command::Alert(command) => Box::pin(alert::run(app, &command)).await,
        Command::Ban(command) => Box::pin(ban::run(app, &command)).await,
        Command::Redirect(command) => Box::pin(redirect::run(app, &command)).await,
        Command::History(command) => Box::pin(history::run(app, &command)).await,
        Command::Refusals(args) => Box::pin(refusals::run(app, &args)).await,
        Command::Import(args) => Box::pin(data::import(app, &args)).await,
        Command::Export(args) => Box::pin(data::export(app, &args)).await,
        Command::Audit(list) => Box::pin(audit::run(app, &list)).await,
        Command::Overview => about::overview(app).await,
        Command::Whoami => about::whoami(app).await,
        Command::Check => about::check(app).await,
        Command::Context(_)
        | Command::Info(_)
        | Command::Snapshot(_)
        | Command::Turnadmin(_)
        | Command::Completion(_)
        | Command::Man(_) => Ok(()),
    }
}
