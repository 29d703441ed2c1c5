//! `relayctl turn`: any TURN server from a client's side.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use shared::api::MintRequest;
use shared::{Realm, Secret, display_safe};

use super::App;
use super::args::{Global, duration};
use super::exit::Failure;
use super::output::{Format, ListWriter, Selection, Summary, write_json};
use super::permit::Ask;
use super::terminal::Terminal;
use crate::guardrails::Deed;
use crate::turn::check::{self, CheckOptions, EchoWay, Report, Step};
use crate::turn::link::TlsOptions;
use crate::turn::requests::Family;
use crate::turn::resolve::Dns;
use crate::turn::{Login, TurnUri};
use crate::verify::{CHECK_TTL_SECS, CHECK_USER};

/// Verbs of `turn`.
#[derive(Debug, Subcommand)]
pub enum TurnCommand {
    /// Try a STUN or TURN server step by step, as a client would
    ///
    /// Resolves the URI (NAPTR and SRV included), connects, asks for our own address (srflx), makes
    /// an allocation (relay), sends packets through it and back, and releases it. Works with any
    /// server; no node is asked but for --realm.
    #[command(after_long_help = AFTER_CHECK)]
    Check(Box<CheckArgs>),
}

const AFTER_CHECK: &str = "\
The echo comes back at a socket of ours where the relay reaches it, else at a second allocation on
the same server. A server that denies private peers refuses the first on a private network; that is
no fault.

Exit codes, besides those of all commands:

  0   every step passed
  10  the name leads to no address
  11  no connection, or no TLS on it
  12  no answer to a Binding, or a refusal
  13  the credentials were refused
  14  no allocation (quota, out of ports, forbidden, ...)
  15  no permission or no channel
  16  packets did not come back, or fewer than --max-loss allows
  17  the allocation could not be released

Examples:

  relayctl turn check stun:stun.example.org
  relayctl turn check turn:turn.example.org --user alice --password-stdin < password
  relayctl turn check turns:turn.example.org:443?transport=tcp --secret-stdin < secret
  relayctl turn check turn:192.0.2.1 --realm example.org -o json";

/// Options of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// As in turn:turn.example.org or turns:192.0.2.1:443?transport=tcp
    #[arg(value_name = "URI")]
    uri: TurnUri,
    /// Who we are.
    #[command(flatten)]
    login: LoginArgs,
    /// Address family of the relay [default: the server's choice]
    #[arg(long, value_enum)]
    family: Option<Family>,
    /// The echo.
    #[command(flatten)]
    echo: EchoArgs,
    /// Check every address that the URI leads to, not only the first that answers
    #[arg(long)]
    each: bool,
    /// Ask this name server, as in 192.0.2.53 or 192.0.2.53:5353
    #[arg(long, value_parser = name_server, value_name = "ADDRESS")]
    dns: Option<SocketAddr>,
    /// Certificates.
    #[command(flatten)]
    tls: TlsArgs,
}

/// Who a check logs in as.
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The user; of a time-limited credential, the id part of its username
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Its password. Others on this machine can see an argument: prefer the variable
    #[arg(long, env = "RELAYCTL_TURN_PASSWORD", hide_env_values = true, value_name = "PASSWORD",
          conflicts_with_all = ["secret", "secret_stdin", "realm"], requires = "user")]
    password: Option<String>,
    /// Take the password from the first line of standard input
    #[arg(long, requires = "user",
          conflicts_with_all = ["secret", "secret_stdin", "realm"])]
    password_stdin: bool,
    /// A shared secret (TURN REST), of which a credential is made. As --password, better a variable
    #[arg(
        long,
        env = "RELAYCTL_TURN_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        conflicts_with = "realm"
    )]
    secret: Option<String>,
    /// Take the shared secret from the first line of standard input
    #[arg(long, conflicts_with = "realm")]
    secret_stdin: bool,
    /// Have the node mint a credential of this realm
    #[arg(short, long)]
    realm: Option<Realm>,
}

/// Options of the echo.
#[derive(Args, Clone, Debug)]
pub struct EchoArgs {
    /// Where packets are sent back
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    echo: EchoWay,
    /// Packets that are sent
    #[arg(long, default_value_t = 50, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    packets: u32,
    /// Between two of them
    #[arg(long, default_value = "20ms", value_parser = interval, value_name = "TIME")]
    interval: Duration,
    /// Percent of them that may be lost
    #[arg(long, default_value_t = 5, value_name = "PERCENT",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    max_loss: u8,
}

/// How certificates are believed.
#[derive(Args, Clone, Debug)]
pub struct TlsArgs {
    /// PEM certificates that the server's must lead to, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long)]
    insecure: bool,
    /// The name in the certificate (and SNI), instead of the URI's host
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

impl TurnCommand {
    /// Whether it asks a node.
    #[must_use]
    pub fn needs_node(&self) -> bool {
        let Self::Check(args) = self;
        args.login.realm.is_some()
    }
}

/// Runs it with the node of `app`, which mints the credential.
pub(super) async fn run(app: &mut App<'_, '_>, command: &TurnCommand) -> Result<(), Failure> {
    let TurnCommand::Check(args) = command;
    let Some(realm) = &args.login.realm else {
        return run_alone(command, app.global, app.terminal).await;
    };
    let deed = Deed::of_realm("credential.mint", realm);
    app.permit(&deed, "A credential is minted.", Ask::Nothing)?;
    let login = args.login.minted(app, realm, CHECK_TTL_SECS).await?;
    check(args, Some(login), app.global, app.terminal).await
}

/// Runs it without a node.
pub(super) async fn run_alone(
    command: &TurnCommand,
    global: &Global,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let TurnCommand::Check(args) = command;
    let login = login(&args.login, terminal)?;
    check(args, login, global, terminal).await
}

impl LoginArgs {
    /// The realm in which a node is to mint a credential.
    pub(super) fn realm(&self) -> Option<&Realm> {
        self.realm.as_ref()
    }

    /// The user, where one was named.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// A credential of `realm` that the node of `app` mints.
    pub(super) async fn minted(
        &self,
        app: &App<'_, '_>,
        realm: &Realm,
        ttl_secs: u64,
    ) -> Result<Login, Failure> {
        let request = MintRequest {
            user: self.user.clone().unwrap_or(CHECK_USER.to_owned()),
            ttl_secs: Some(ttl_secs),
            // Which server it is for is known.
            count: Some(0),
            ..MintRequest::default()
        };
        let credential = app.api.mint(realm, &request).await?;
        Ok(Login {
            username: credential.username,
            password: Secret::new(credential.credential),
        })
    }

    /// The shared secret that the command line gives.
    pub(super) fn secret(
        &self,
        terminal: &mut Terminal<'_>,
    ) -> Result<Option<Secret<String>>, Failure> {
        Ok(match (&self.secret, self.secret_stdin) {
            (_, true) => Some(terminal.asked.piped_secret()?),
            (Some(secret), _) => Some(Secret::new(secret.clone())),
            _ => None,
        })
    }
}

/// When a credential ends that begins now, in seconds since 1970.
pub(super) fn expiry(ttl_secs: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs() + ttl_secs
}

/// The credentials that the command line gives.
fn login(args: &LoginArgs, terminal: &mut Terminal<'_>) -> Result<Option<Login>, Failure> {
    if let Some(secret) = args.secret(terminal)? {
        let user = args.user().unwrap_or(CHECK_USER);
        return Ok(Some(Login::from_secret(
            &secret,
            expiry(CHECK_TTL_SECS),
            user,
        )));
    }
    password_login(args, terminal)
}

/// The user and the password that the command line gives.
pub(super) fn password_login(
    args: &LoginArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Option<Login>, Failure> {
    let Some(user) = &args.user else {
        return Ok(None);
    };
    let password = match (&args.password, args.password_stdin) {
        (_, true) => terminal.asked.piped_secret()?,
        (Some(password), _) => Secret::new(password.clone()),
        _ if terminal.asked.is_person() => terminal.hidden("Password: ")?,
        _ => {
            let what = "--user without a password: add --password-stdin, or set \
                        RELAYCTL_TURN_PASSWORD";
            return Err(Failure::Usage(what.to_owned()));
        }
    };
    Ok(Some(Login {
        username: user.clone(),
        password,
    }))
}

async fn check(
    args: &CheckArgs,
    login: Option<Login>,
    global: &Global,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let defaults = CheckOptions::default();
    let options = CheckOptions {
        login,
        patience: global.timeout.unwrap_or(defaults.patience),
        family: args.family.unwrap_or_default(),
        each: args.each,
        tls: args.tls.options()?,
        ..args.echo.over(defaults)
    };
    let names = args.dns.map_or_else(Dns::system, Dns::server);
    let selection = Selection::<Step>::new(global.output, &global.fields, global.ascii)?;
    let live = matches!(global.output, Format::Table | Format::Wide) && global.fields.is_empty();
    let out = &mut *terminal.out;
    let mut broken = Ok(());
    if live {
        writeln!(out, "{}", display_safe(&args.uri.to_string()))?;
    }
    let mut tell = |step: &Step| {
        if live && broken.is_ok() {
            broken = write_step(out, step);
        }
    };
    let report = check::run(&args.uri, &names, &options, &mut tell).await;
    broken?;
    if live {
        writeln!(terminal.out, "{}", conclusion(&report))?;
        terminal.out.flush()?;
    } else if global.output == Format::Json && global.fields.is_empty() {
        write_json(
            terminal.out,
            &serde_json::to_value(&report).unwrap_or_default(),
        )?;
    } else {
        let mut writer = ListWriter::new(terminal.out, &selection);
        let as_of_ms = super::app::now_ms();
        writer.rows(as_of_ms, &report.steps)?;
        let count = report.steps.len() as u64;
        writer.end(&Summary {
            as_of_ms,
            matched: count,
            total: count,
            missing: Vec::new(),
            next: None,
        })?;
    }
    verdict(&report)
}

impl EchoArgs {
    /// `options` with these.
    pub(super) fn over(&self, options: CheckOptions) -> CheckOptions {
        CheckOptions {
            echo: self.echo,
            packets: self.packets,
            interval: self.interval,
            max_loss: self.max_loss,
            ..options
        }
    }
}

impl TlsArgs {
    /// Reads the file.
    pub(super) fn options(&self) -> Result<TlsOptions, Failure> {
        let ca_pem = self.ca.as_deref().map(crate::contexts::read).transpose()?;
        Ok(TlsOptions {
            ca_pem: ca_pem.map(String::into_bytes),
            insecure: self.insecure,
            server_name: self.server_name.clone(),
        })
    }
}

/// One step for people: the line, and what to do about it below.
fn write_step(out: &mut (dyn Write + Send), step: &Step) -> std::io::Result<()> {
    let (status, stage) = (step.status.as_str(), step.step.as_str());
    let server = step.server.as_deref().unwrap_or_default();
    let space = if server.is_empty() { "" } else { ": " };
    let text = display_safe(&step.text);
    writeln!(
        out,
        "  {status:6} {stage:10} {:8.1} ms  {server}{space}{text}",
        step.ms
    )?;
    if let Some(remedy) = &step.remedy {
        writeln!(
            out,
            "                                 {}",
            display_safe(remedy)
        )?;
    }
    out.flush()
}

/// The last line.
fn conclusion(report: &Report) -> String {
    match report.failed() {
        None => "ok: every step passed".to_owned(),
        Some(step) => format!("failed: {}", step.step.as_str()),
    }
}

fn verdict(report: &Report) -> Result<(), Failure> {
    if report.exit_code == 0 {
        return Ok(());
    }
    let step = report.failed();
    let text = step.map_or_else(
        || "no server answered".to_owned(),
        |step| format!("{}: {}", step.step.as_str(), step.text),
    );
    Err(Failure::Check {
        code: report.exit_code,
        text: display_safe(&text).into_owned(),
    })
}

pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse()
        .or_else(|_| alone())
        .map_err(|_| "an address, as in 192.0.2.53 or 192.0.2.53:5353".to_owned())
}

/// A pause between packets: milliseconds, which other durations of the command line never need.
fn interval(text: &str) -> Result<Duration, String> {
    let millis = text
        .strip_suffix("ms")
        .and_then(|number| number.parse().ok());
    match millis {
        Some(millis @ 1..=10_000) => Ok(Duration::from_millis(millis)),
        Some(_) => Err("from 1ms to 10s".to_owned()),
        None => duration(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_and_name_servers_are_read() {
        assert_eq!(interval("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert!(interval("0ms").is_err() && interval("x").is_err());
        assert_eq!(
            name_server("192.0.2.53"),
            Ok("192.0.2.53:53".parse().unwrap())
        );
        assert_eq!(name_server("[::1]:5353"), Ok("[::1]:5353".parse().unwrap()));
        assert!(name_server("dns.example.org").is_err());
    }
}
