//! `relayctl turnadmin`: coturn's `turnadmin` over the admin API, for scripts that exist.
//!
//! Flags, and what stands on standard output, are `turnadmin`'s; notes go to standard error, and exit
//! codes say what happened, which `turnadmin`'s do not. The database is the node's store, whichever that
//! is.

mod offline;
mod options;

use std::ffi::OsString;

use clap::Args;
use shared::api::{
    ImportOutcome, ListQuery, RealmDocument, RealmImport, RealmView, RevealRequest, RevealedSecret,
    UserPut,
};
use shared::{Realm, Secret, WebOrigin, display_safe};

use super::documents;
use super::exit::Failure;
use super::permit::Ask;
use super::{App, Terminal};
use crate::contexts::Environment;
use crate::guardrails::Deed;
use options::{Options, Verb, usage};

/// Set to `ignore` it lets flags that name a database pass, for scripts that cannot be changed.
const DATABASES: &str = "RELAYCTL_TURNADMIN_DATABASE";

/// What `--help` says.
const HELP: &str = "\
turnadmin over the admin API of relayd: the same flags, on the node's store.

  -k, --key                     print the key of -u -r -p (no node is asked)
  -P, --generate-encrypted-password
                                print a hash of -p for coturn's cli-password (no node is asked)
  -a, --add                     add a user, or set its password: -u -r -p
  -d, --delete                  delete a user: -u -r
  -l, --list                    list users [-r]
  -s, --set-secret=VALUE        add a shared secret: -r
  -S, --show-secret             list shared secrets [-r]
  -X, --delete-secret=VALUE     remove a shared secret: -r
      --delete-all-secrets      remove all shared secrets: -r
  -O, --add-origin              an origin belongs to a realm: -o -r
  -R, --del-origin              it does no more: -o
  -I, --list-origins            list origins [-r]
  -g, --set-realm-option        --max-bps (bytes per second), --total-quota, --user-quota of -r; 0 removes
  -G, --list-realm-options      list them [-r]
  -u, --user  -r, --realm  -p, --password  -o, --origin

The realm may come from RELAYCTL_REALM. Flags of databases (-b -e -M -J -N) are refused, since the store is
the node's (relayctl --url or --context, before turnadmin), unless RELAYCTL_TURNADMIN_DATABASE=ignore.
Exit codes are relayctl's: 0 done, 1 failure, 2 usage, 3 not found, 4 denied, 6 unreachable.
";

/// Words behind `turnadmin`.
#[derive(Args, Clone, Debug)]
pub struct TurnadminArgs {
    /// Options of turnadmin; --help lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    words: Vec<String>,
}

/// A command line in two: what clap reads, and what stands behind `turnadmin` when that is the command.
/// Its flags mean other things than ours, so that clap must not see them.
#[must_use]
pub fn split(arguments: Vec<OsString>) -> (Vec<OsString>, Option<Vec<OsString>>) {
    const WITH_VALUE: &[&str] = &[
        "-c",
        "--context",
        "--url",
        "--config",
        "--theme",
        "-o",
        "--output",
        "--fields",
        "--confirm",
        "--reason",
        "--timeout",
    ];
    let mut at = 1;
    while let Some(word) = arguments.get(at).and_then(|word| word.to_str()) {
        match word {
            "turnadmin" => {
                let mut arguments = arguments;
                let rest = arguments.split_off(at + 1);
                return (arguments, Some(rest));
            }
            _ if WITH_VALUE.contains(&word) => at += 2,
            _ if word.starts_with('-') => at += 1,
            _ => break,
        }
    }
    (arguments, None)
}

impl TurnadminArgs {
    /// These words instead of those that clap found.
    ///
    /// # Errors
    /// One is no UTF-8.
    pub fn with(words: Vec<OsString>) -> Result<Self, Failure> {
        let words = words.into_iter().map(OsString::into_string);
        let words = words.collect::<Result<_, _>>();
        let words = words.map_err(|_| usage("an argument is no UTF-8".to_owned()))?;
        Ok(Self { words })
    }

    /// What the words mean.
    pub(super) fn read(
        &self,
        env: Environment<'_>,
        terminal: &mut Terminal<'_>,
    ) -> Result<Deeds, Failure> {
        let mut options = options::parse(&self.words)?;
        if options.realm.is_none()
            && let Some(realm) = env("RELAYCTL_REALM").and_then(|name| name.into_string().ok())
        {
            let realm = realm.parse();
            options.realm = Some(realm.map_err(|error| usage(format!("RELAYCTL_REALM: {error}")))?);
        }
        if let Some(database) = options.database {
            if env(DATABASES).is_none_or(|value| value != "ignore") {
                return Err(usage(format!(
                    "--{database}: users are in the store of the node, which relayctl --url or \
                     --context names; leave it out, or set {DATABASES}=ignore"
                )));
            }
            terminal.note(&format!("--{database} is ignored: the store is the node's"));
        }
        Ok(Deeds(options))
    }
}

/// A command line that was read.
#[derive(Debug)]
pub(super) struct Deeds(Options);

impl Deeds {
    /// Does what needs no node; `false`: that is not all.
    pub(super) fn run_alone(&self, terminal: &mut Terminal<'_>) -> Result<bool, Failure> {
        let options = &self.0;
        let text = match &options.verb {
            Some(Verb::Help) => HELP.to_owned(),
            Some(Verb::Key) => {
                let (user, realm) = (options.user()?, options.realm()?);
                format!(
                    "{}\n",
                    offline::key(user, realm, options.password()?.expose())
                )
            }
            Some(Verb::EncryptedPassword) => {
                let mut salt = [0; 8];
                getrandom::fill(&mut salt)
                    .map_err(|error| Failure::Other(format!("no randomness: {error}")))?;
                format!(
                    "{}\n",
                    offline::encrypted(salt, options.password()?.expose())
                )
            }
            Some(Verb::WebAdmins) => {
                let what = "accounts of coturn's web pages do not exist here: operators have tokens \
                            (relayctl token create --role admin), or the Unix socket";
                return Err(usage(what.to_owned()));
            }
            Some(Verb::MysqlPasswords) => {
                let what = "encrypted passwords of MySQL have no use here: relayd knows no MySQL";
                return Err(usage(what.to_owned()));
            }
            Some(_) => return Ok(false),
            None => return Err(usage("nothing to do; --help lists the options".to_owned())),
        };
        terminal.out.write_all(text.as_bytes())?;
        Ok(true)
    }
}

impl Options {
    fn user(&self) -> Result<&str, Failure> {
        let user = self.user.as_deref();
        user.ok_or_else(|| usage("the user must be set: -u".to_owned()))
    }

    fn realm(&self) -> Result<&Realm, Failure> {
        let realm = self.realm.as_ref();
        realm.ok_or_else(|| usage("the realm must be set: -r".to_owned()))
    }

    fn password(&self) -> Result<&Secret<String>, Failure> {
        let password = self.password.as_ref();
        password.ok_or_else(|| usage("the password must be set: -p".to_owned()))
    }

    fn origin(&self) -> Result<WebOrigin, Failure> {
        let origin = self.origin.as_deref();
        let origin = origin.ok_or_else(|| usage("the origin must be set: -o".to_owned()))?;
        WebOrigin::parse_foreign(origin)
            .ok_or_else(|| usage("-o: scheme://host or scheme://host:port".to_owned()))
    }
}

pub(super) async fn run(app: &mut App<'_, '_>, deeds: &Deeds) -> Result<(), Failure> {
    let options = &deeds.0;
    match &options.verb {
        Some(Verb::AddUser) => add_user(app, options).await,
        Some(Verb::DeleteUser) => {
            let (user, realm) = (options.user()?, options.realm()?);
            let question = format!("User {} of {realm} is deleted.", display_safe(user));
            app.permit(
                &Deed::of_realm("user.delete", realm),
                &question,
                Ask::Nothing,
            )?;
            Ok(app.api.delete_user(realm, user, &app.global.reason).await?)
        }
        Some(Verb::ListUsers) => list_users(app, options).await,
        Some(Verb::SetSecret(value)) => set_secret(app, options.realm()?, value).await,
        Some(Verb::ShowSecrets) => show_secrets(app, options).await,
        Some(Verb::DeleteSecret(value)) => delete_secrets(app, options.realm()?, Some(value)).await,
        Some(Verb::DeleteAllSecrets) => delete_secrets(app, options.realm()?, None).await,
        Some(Verb::AddOrigin) => {
            let origin = options.origin()?;
            let add = |document: &mut RealmDocument| {
                let text = origin.as_str();
                if !document.origins.iter().any(|known| known == text) {
                    document.origins.push(text.to_owned());
                }
            };
            documents::edit(app, options.realm()?, add).await.map(drop)
        }
        Some(Verb::DeleteOrigin) => delete_origin(app, &options.origin()?).await,
        Some(Verb::ListOrigins) => list_origins(app, options).await,
        Some(Verb::SetOptions) => set_options(app, options).await,
        Some(Verb::ListOptions) => list_options(app, options).await,
        _ => Ok(()),
    }
}

/// Writes a line of the answer.
fn say(app: &mut App<'_, '_>, line: &str) -> Result<(), Failure> {
    Ok(writeln!(app.terminal.out, "{}", display_safe(line))?)
}

async fn add_user(app: &mut App<'_, '_>, options: &Options) -> Result<(), Failure> {
    let (user, realm) = (options.user()?, options.realm()?);
    let question = format!("User {} of {realm} gets a password.", display_safe(user));
    app.permit(&Deed::of_realm("user.put", realm), &question, Ask::Nothing)?;
    let put = UserPut {
        password: options.password()?.expose().clone(),
        reason: app.global.reason.clone(),
    };
    let result = app.api.put_user(realm, user, &put).await;
    drop(Secret::new(put.password));
    Ok(result.map(drop)?)
}

async fn list_users(app: &mut App<'_, '_>, options: &Options) -> Result<(), Failure> {
    let mut query = ListQuery {
        sort: Some("user:asc".to_owned()),
        limit: Some(ListQuery::MAX_LIMIT),
        ..ListQuery::default()
    };
    let mut users = Vec::new();
    loop {
        let page = app.api.users(&query).await?;
        let is_empty = page.items.is_empty();
        let wanted = |realm: &Realm| options.realm.as_ref().is_none_or(|one| one == realm);
        let stored = page.items.into_iter();
        let stored = stored.filter(|user| user.stored && wanted(&user.realm));
        users.extend(stored.map(|user| (user.realm, user.name)));
        query.cursor = page.next;
        if query.cursor.is_none() || is_empty {
            break;
        }
    }
    users.sort();
    for (realm, name) in users {
        say(app, &format!("{name}[{realm}]"))?;
    }
    Ok(())
}

async fn set_secret(
    app: &mut App<'_, '_>,
    realm: &Realm,
    value: &Secret<String>,
) -> Result<(), Failure> {
    let question = format!("A secret of {realm} is added.");
    app.permit(
        &Deed::of_realm("secret.create", realm),
        &question,
        Ask::Nothing,
    )?;
    let import = RealmImport {
        secrets: vec![value.expose().clone()],
        reason: app.global.reason.clone(),
        ..RealmImport::default()
    };
    let result = app.api.import_realm(realm, &import).await?;
    match result.secrets.into_iter().next() {
        Some(ImportOutcome::Refused(reason)) => Err(usage(format!("the secret: {reason}"))),
        _ => Ok(()),
    }
}

/// The stored secrets of a realm with their values.
async fn secrets(app: &mut App<'_, '_>, realm: &Realm) -> Result<Vec<RevealedSecret>, Failure> {
    let question = format!("The secrets of {realm} are shown.");
    app.permit(
        &Deed::of_realm("realm.reveal", realm),
        &question,
        Ask::Nothing,
    )?;
    let request = RevealRequest {
        secrets_only: true,
        reason: app.global.reason.clone(),
        ..RevealRequest::default()
    };
    Ok(app.api.reveal_realm(realm, &request).await?.secrets)
}

async fn show_secrets(app: &mut App<'_, '_>, options: &Options) -> Result<(), Failure> {
    let realms = match &options.realm {
        Some(realm) => vec![realm.clone()],
        None => {
            let all = documents::all(app).await?.into_iter();
            all.filter(|view| view.secrets > 0)
                .map(|view| view.name)
                .collect()
        }
    };
    for realm in realms {
        for secret in secrets(app, &realm).await? {
            // The others are not in coturn's set.
            if secret.state.is_accepted() {
                say(app, &format!("{}[{realm}]", secret.value))?;
            }
        }
    }
    Ok(())
}

/// Removes one secret, or all of them.
async fn delete_secrets(
    app: &mut App<'_, '_>,
    realm: &Realm,
    value: Option<&Secret<String>>,
) -> Result<(), Failure> {
    let known = secrets(app, realm).await?.into_iter();
    let gone = known.filter(|one| value.is_none_or(|value| *value.expose() == one.value));
    let gone: Vec<_> = gone.map(|one| one.id).collect();
    if gone.is_empty() && value.is_some() {
        return Err(Failure::NotFound(format!("{realm} has no such secret")));
    }
    let question = format!("{} secrets of {realm} go.", gone.len());
    app.permit(
        &Deed::of_realm("secret.delete", realm),
        &question,
        Ask::Nothing,
    )?;
    for id in gone {
        app.api
            .delete_secret(realm, &id, &app.global.reason)
            .await?;
    }
    Ok(())
}

async fn delete_origin(app: &mut App<'_, '_>, origin: &WebOrigin) -> Result<(), Failure> {
    let is_it = |text: &String| {
        WebOrigin::parse_foreign(text).is_some_and(|one| one.with_port() == origin.with_port())
    };
    let mut realms = documents::all(app).await?.into_iter();
    let Some(view) = realms.find(|view| view.document.origins.iter().any(is_it)) else {
        let origin = origin.as_str();
        return Err(Failure::NotFound(format!("{origin} belongs to no realm")));
    };
    let remove = |document: &mut RealmDocument| document.origins.retain(|text| !is_it(text));
    documents::edit(app, &view.name, remove).await.map(drop)
}

/// The realms that are asked for, as far as they are stored: what stands in configuration files is in no
/// database.
async fn wanted(app: &mut App<'_, '_>, options: &Options) -> Result<Vec<RealmView>, Failure> {
    let all = documents::all(app).await?.into_iter();
    let wanted = |view: &RealmView| options.realm.as_ref().is_none_or(|one| *one == view.name);
    Ok(all
        .filter(|view| view.revision > 0 && wanted(view))
        .collect())
}

async fn list_origins(app: &mut App<'_, '_>, options: &Options) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for view in wanted(app, options).await? {
        let realm = &view.name;
        let origins = view.document.whole_origins();
        lines.extend(origins.map(|origin| format!("{origin} ==>> {realm}")));
    }
    lines.sort();
    lines.iter().try_for_each(|line| say(app, line))
}

async fn set_options(app: &mut App<'_, '_>, options: &Options) -> Result<(), Failure> {
    let limits = (options.max_bps, options.total_quota, options.user_quota);
    if limits == (None, None, None) {
        let what = "nothing to set: --max-bps, --total-quota or --user-quota";
        return Err(usage(what.to_owned()));
    }
    let set = |document: &mut RealmDocument| {
        if let Some(bytes) = options.max_bps {
            document.max_rate_bps = (bytes > 0).then(|| bytes.saturating_mul(8));
        }
        if let Some(quota) = options.total_quota {
            document.max_sessions = (quota > 0).then_some(quota);
        }
        if let Some(quota) = options.user_quota {
            document.max_sessions_per_user = (quota > 0).then_some(quota);
        }
    };
    documents::edit(app, options.realm()?, set).await.map(drop)
}

async fn list_options(app: &mut App<'_, '_>, options: &Options) -> Result<(), Failure> {
    for view in wanted(app, options).await? {
        let (realm, document) = (&view.name, &view.document);
        let limits = [
            (
                "max-bps",
                document.max_rate_bps.map(|bits| (bits / 8).max(1)),
            ),
            ("total-quota", document.max_sessions.map(u64::from)),
            ("user-quota", document.max_sessions_per_user.map(u64::from)),
        ];
        for (name, limit) in limits {
            if let Some(limit) = limit.filter(|limit| *limit > 0) {
                say(app, &format!("{name}[{realm}]={limit}"))?;
            }
        }
    }
    Ok(())
}
