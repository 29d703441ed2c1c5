//! The self-test of nodes: `turn check` of each of their listeners with a temporary credential, for
//! the command line and the console.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::api::{MintRequest, NodeView};
use shared::{NodeId, Realm, Secret};

use crate::client::{AdminApi, ClientError};
use crate::turn::check::{self, CheckOptions, Report, Step, Verdict};
use crate::turn::resolve::Dns;
use crate::turn::{Login, TurnUri};

/// What the users of checks begin with, so that their sessions can be told from others:
/// `user~^relayctl-check`.
pub const CHECK_USER: &str = "relayctl-check";
/// How long a credential of a check is good, in seconds.
pub const CHECK_TTL_SECS: u64 = 600;

/// What the self-test of a node tells on its way. The number is the listener's place among the
/// node's `urls`.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The check of a listener begins.
    Begun(usize),
    /// A step of it ended.
    Step(usize, Step),
    /// It ended.
    Ended(usize, Verified),
}

/// How a listener of a node did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// The node.
    pub node: NodeId,
    /// `udp`, `tcp`, `tls` or `dtls`; empty where there was nothing to check.
    pub transport: String,
    /// What was checked.
    pub uri: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// The exit code of that.
    pub exit_code: u8,
    /// Packets of the echo.
    pub sent: u32,
    /// Those of them that came back.
    pub received: u32,
    /// Shortest time there and back, in milliseconds; absent without an echo.
    pub rtt_min_ms: Option<f64>,
    /// Mean.
    pub rtt_avg_ms: Option<f64>,
    /// 99 of 100 were not slower.
    pub rtt_p99_ms: Option<f64>,
    /// Lost packets, in percent.
    pub loss_percent: Option<f64>,
    /// The relay address.
    pub relay: String,
    /// Why it failed, or what is doubtful.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

impl Verified {
    /// A node with nothing to check.
    fn nothing(node: &NodeId, text: &str) -> Self {
        let mut verified = Self::of(node, "", Report::new(String::new()));
        verified.verdict = Verdict::Resolve;
        verified.exit_code = Verdict::Resolve.exit_code();
        text.clone_into(&mut verified.text);
        verified
    }

    /// A listener that could not be checked.
    fn unchecked(node: &NodeId, transport: &str, uri: &str, why: &str) -> Self {
        Self {
            transport: transport.to_owned(),
            uri: uri.to_owned(),
            ..Self::nothing(node, why)
        }
    }

    /// What a report comes to.
    pub(crate) fn of(node: &NodeId, transport: &str, report: Report) -> Self {
        let echo = report.echo.iter().rfind(|echo| echo.received > 0);
        let echo = echo.or(report.echo.last());
        let doubt = || report.steps.iter().find(|step| step.remedy.is_some());
        let told = report.failed().or_else(doubt);
        let time = |read: fn(&check::Figures) -> f64| {
            let came = echo.filter(|echo| echo.received > 0);
            came.map(read)
        };
        Self {
            node: node.clone(),
            transport: transport.to_owned(),
            verdict: report.verdict,
            exit_code: report.exit_code,
            sent: echo.map_or(0, |echo| echo.sent),
            received: echo.map_or(0, |echo| echo.received),
            rtt_min_ms: time(|echo| echo.rtt_min_ms),
            rtt_avg_ms: time(|echo| echo.rtt_avg_ms),
            rtt_p99_ms: time(|echo| echo.rtt_p99_ms),
            loss_percent: echo.map(check::Figures::loss_percent),
            relay: echo.map_or_else(String::new, |echo| echo.relay.to_string()),
            text: told.map_or_else(String::new, |step| {
                format!("{}: {}", step.step.as_str(), step.text)
            }),
            remedy: told
                .and_then(|step| step.remedy.clone())
                .unwrap_or_default(),
            uri: report.uri,
        }
    }

    /// Whether every step passed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.verdict == Verdict::Ok
    }
}

/// Checks each listener of `node`, one behind the other, as a client of `realm`, or of the realm that the
/// listener serves. A credential is minted for each of these realms. `progress` sees how it goes; when the
/// `stop` of the options is cancelled, the answer holds what was checked by then. A listener of a realm for
/// which none is minted, beside others, is told with the reason.
///
/// # Errors
/// The node that is asked does not answer, or mints no credential at all: the realm may have no shared
/// secret, the caller not the right to mint.
pub async fn verify(
    api: &dyn AdminApi,
    node: &NodeView,
    realm: Option<&Realm>,
    options: &CheckOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Verified>, ClientError> {
    if node.urls.is_empty() {
        let text = "it has no listeners, or is of a version that does not tell them";
        let nothing = Verified::nothing(&node.id, text);
        progress(Progress::Ended(0, nothing.clone()));
        return Ok(vec![nothing]);
    }
    let logins = logins(api, node, realm).await?;
    let names = Dns::system();
    let mut found = Vec::new();
    for (at, (url, login)) in node.urls.iter().zip(logins).enumerate() {
        progress(Progress::Begun(at));
        let verified = match (url.parse::<TurnUri>(), login) {
            (Ok(uri), Err(why)) => {
                let transport = uri.default_transport().as_str();
                Verified::unchecked(&node.id, transport, url, &why)
            }
            (Ok(uri), Ok(login)) => {
                let options = CheckOptions {
                    login: Some(login),
                    ..options.clone()
                };
                let told = &mut |step: &Step| progress(Progress::Step(at, step.clone()));
                let report = check::run(&uri, &names, &options, told).await;
                if options.stop.is_cancelled() {
                    break;
                }
                Verified::of(&node.id, uri.default_transport().as_str(), report)
            }
            (Err(_), _) => {
                let text = format!("the node tells a URI that is none: {url}");
                Verified::nothing(&node.id, &text)
            }
        };
        progress(Progress::Ended(at, verified.clone()));
        found.push(verified);
    }
    Ok(found)
}

/// For each of the node's `urls` what a client of `realm`, or of the realm that is served there, logs in
/// with, or why there is nothing.
async fn logins(
    api: &dyn AdminApi,
    node: &NodeView,
    realm: Option<&Realm>,
) -> Result<Vec<Result<Login, String>>, ClientError> {
    let mut realms = Vec::new();
    for url in &node.urls {
        realms.push(match realm.or_else(|| node.url_realms.get(url)) {
            Some(realm) => realm.clone(),
            None => default_realm(api, &node.id).await?,
        });
    }
    let request = MintRequest {
        user: format!("{CHECK_USER}.{}", node.id),
        ttl_secs: Some(CHECK_TTL_SECS),
        // Which node it is for is known.
        count: Some(0),
        ..MintRequest::default()
    };
    let mut minted = BTreeMap::new();
    for realm in &realms {
        if !minted.contains_key(realm) {
            minted.insert(realm.clone(), api.mint(realm, &request).await);
        }
    }
    if !minted.values().any(Result::is_ok)
        && let Some((_, Err(why))) = minted.pop_first()
    {
        return Err(why);
    }
    let login = |realm| match &minted[realm] {
        Ok(credential) => Ok(Login {
            username: credential.username.clone(),
            password: Secret::new(credential.credential.clone()),
        }),
        Err(why) => Err(why.to_string()),
    };
    Ok(realms.iter().map(login).collect())
}

/// The realm that a node's listeners serve where nothing else is said.
async fn default_realm(api: &dyn AdminApi, node: &NodeId) -> Result<Realm, ClientError> {
    let config = api.config(node).await?;
    let setting = config.settings.iter().find(|s| s.key == "default_realm");
    let name = setting.and_then(|setting| setting.value.as_str());
    let realm = name.and_then(|name| name.parse().ok());
    realm.ok_or_else(|| {
        let text = format!("{node} does not tell its default realm: name one (--realm)");
        ClientError::Protocol(text)
    })
}
