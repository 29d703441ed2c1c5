//! Whole commands against the cluster in memory: output, questions, calls, exit codes.

mod contract;
mod credentials;
mod fleet;
mod generated;
mod guardrails;
mod kill;
mod lists;
mod realm;

use std::collections::VecDeque;
use std::io;

use clap::Parser as _;
use serde_json::Value;
use shared::Secret;
use shared::api::{ApiError, ErrorKind, Role};

use super::*;
use crate::client::fake::FakeAdmin;
use crate::client::{AdminApi as _, ClientError};
use crate::guardrails::Guardrails;

pub(crate) type Edit = Box<dyn FnOnce(&str) -> String + Send>;

/// A person who gives these answers, or nobody.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) person: bool,
    pub(crate) answers: VecDeque<String>,
    pub(crate) edits: VecDeque<Edit>,
    pub(crate) guardrails: Guardrails,
}

impl Script {
    fn next(&mut self) -> io::Result<String> {
        self.answers
            .pop_front()
            .ok_or_else(|| io::Error::other("asked once too often"))
    }
}

impl Asked for Script {
    fn is_person(&self) -> bool {
        self.person
    }

    fn line(&mut self) -> io::Result<String> {
        self.next()
    }

    fn secret(&mut self) -> io::Result<Secret<String>> {
        self.next().map(Secret::new)
    }

    fn piped_secret(&mut self) -> io::Result<Secret<String>> {
        self.next().map(Secret::new)
    }

    fn edit(&mut self, text: &str) -> io::Result<String> {
        let edit = self
            .edits
            .pop_front()
            .ok_or_else(|| io::Error::other("edited too often"))?;
        Ok(edit(text))
    }
}

pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

pub(crate) async fn run_as(api: &FakeAdmin, script: &mut Script, args: &[&str]) -> Ran {
    let args = ["relayctl"].iter().chain(args);
    let cli = Cli::try_parse_from(args).unwrap_or_else(|e| panic!("{e}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let rails = script.guardrails.clone();
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        asked: script,
        out_is_terminal: false,
        err_is_terminal: false,
    };
    let command = cli.command.expect("a command");
    let mut app = App::new(api, &cli.global, rails, &mut terminal);
    let result = match &command {
        Command::Snapshot(args) => {
            let configuration = Configuration::default();
            let env = |name: &str| (name == "COLORTERM").then(|| "truecolor".into());
            let looks = looks(&configuration, &cli.global, &env).expect("the default theme");
            snapshot::run(&mut app, args, &configuration, &looks).await
        }
        _ => run_with(command, &mut app).await,
    };
    let code = finish(result, &mut terminal);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code,
        out: text(out),
        err: text(err),
    }
}

/// A script runs the command: nobody answers.
async fn run(api: &FakeAdmin, args: &[&str]) -> Ran {
    run_as(api, &mut Script::default(), args).await
}

/// A person runs it, and gives these answers.
async fn run_asked(api: &FakeAdmin, answers: &[&str], args: &[&str]) -> Ran {
    let answers = answers.iter().map(|a| (*a).to_owned()).collect();
    run_as(
        api,
        &mut Script {
            person: true,
            answers,
            ..Script::default()
        },
        args,
    )
    .await
}

/// A script runs it with this on standard input.
async fn run_piped(api: &FakeAdmin, input: &str, args: &[&str]) -> Ran {
    let answers = [input.to_owned()].into();
    run_as(
        api,
        &mut Script {
            answers,
            ..Script::default()
        },
        args,
    )
    .await
}

const FIRST: &str = "7f3a900000000001";
