//! `[store]`: SQLite files or a Redis URL. `[statsdb]`: another Redis URL.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use shared::Secret;

use super::cluster_key;
use super::error::Origin;
use super::sentinel::{self, SentinelConfig, Server, host_of};
use super::source::Reader;
use super::{RedisConfig, StoreConfig};

/// Redis's port.
const REDIS_PORT: u16 = 6379;

/// A Redis URL in its parts, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RedisUrl {
    tls: bool,
    username: Option<String>,
    password: Option<Secret<String>>,
    host: String,
    port: u16,
    database: u32,
}

/// What the settings of a connection to Redis are called.
#[derive(Debug)]
struct Names {
    table: &'static str,
    url: &'static str,
    username: &'static str,
    password: &'static str,
    password_file: &'static str,
    ca_file: &'static str,
    insecure: &'static str,
    /// The variable of the environment that may hold the password.
    variable: &'static str,
}

const STORE: Names = Names {
    table: "store",
    url: "store.url",
    username: "store.username",
    password: "store.password",
    password_file: "store.password_file",
    ca_file: "store.ca_file",
    insecure: "store.insecure",
    variable: "RELAYD_STORE_PASSWORD",
};

const STATSDB: Names = Names {
    table: "statsdb",
    url: "statsdb.url",
    username: "statsdb.username",
    password: "statsdb.password",
    password_file: "statsdb.password_file",
    ca_file: "statsdb.ca_file",
    insecure: "statsdb.insecure",
    variable: "RELAYD_STATSDB_PASSWORD",
};

/// Further servers of the same store.
#[derive(Debug, Default)]
struct Others {
    sentinels: Option<Box<SentinelConfig>>,
    cluster: Vec<String>,
}

/// Reads `[store]`; some store after an error.
pub(super) fn resolve(reader: &mut Reader<'_>, state_dir: &Path) -> StoreConfig {
    read(reader, state_dir).unwrap_or_else(|| StoreConfig::Sqlite {
        turndb: PathBuf::new(),
        db: PathBuf::new(),
    })
}

fn read(reader: &mut Reader<'_>, state_dir: &Path) -> Option<StoreConfig> {
    let (url, origin) = reader
        .text("store.url")
        .unwrap_or(("sqlite".into(), Origin::Default));
    let turndb = reader.text("store.turndb");
    if url == "sqlite" {
        if let Some(item) = reader.find("store.cluster") {
            let remedy = "name one of its servers in store.url, or remove it";
            let problem = "has no meaning with SQLite";
            reader.error(&item.origin, "store.cluster", problem, remedy);
        }
        let turndb =
            turndb.map_or_else(|| state_dir.join("turndb"), |(path, _)| PathBuf::from(path));
        return Some(StoreConfig::Sqlite {
            turndb,
            db: state_dir.join("relayd.db"),
        });
    }
    if let Some((_, origin)) = turndb {
        reader.error(
            &origin,
            "store.turndb",
            "has no meaning with Redis",
            "remove it",
        );
    }
    let parsed = parse(reader, &STORE, &url, &origin)?;
    let sentinels = sentinel::resolve(reader);
    let cluster = cluster(reader, sentinels.is_some(), parsed.database);
    let others = Others { sentinels, cluster };
    let redis = redis(reader, &STORE, &origin, parsed, others);
    Some(StoreConfig::Redis(redis))
}

/// Reads `[statsdb]`; `None`: nobody is told, which is the default.
pub(super) fn statsdb(reader: &mut Reader<'_>) -> Option<RedisConfig> {
    let Some((url, origin)) = reader.text(STATSDB.url).filter(|(url, _)| !url.is_empty()) else {
        for key in [
            STATSDB.username,
            STATSDB.password,
            STATSDB.password_file,
            STATSDB.ca_file,
        ] {
            if let Some((_, origin)) = reader.text(key) {
                let problem = "has no meaning without statsdb.url";
                reader.error(&origin, key, problem, "name the server, or remove it");
            }
        }
        reader.boolean(STATSDB.insecure);
        return None;
    };
    let parsed = parse(reader, &STATSDB, &url, &origin)?;
    Some(redis(reader, &STATSDB, &origin, parsed, Others::default()))
}

fn parse(reader: &mut Reader<'_>, names: &Names, url: &str, origin: &Origin) -> Option<RedisUrl> {
    let parsed = match RedisUrl::parse(url) {
        Ok(parsed) => parsed,
        Err(problem) => {
            // The URL itself may hold a password: never repeated.
            let remedy = match names.table {
                "store" => "write sqlite, redis://[user@]host[:port][/db] or rediss://...",
                _ => "write redis://[user@]host[:port][/db] or rediss://...",
            };
            reader.error(origin, names.url, problem, remedy);
            return None;
        }
    };
    if parsed.password.is_some() && matches!(origin, Origin::Flag(_)) {
        let (table, variable) = (names.table, names.variable);
        reader.warnings.push(format!(
            "--{table}-url holds a password that every user of this machine can see: use \
             {table}.password_file or {variable}"
        ));
    }
    Some(parsed)
}

fn redis(
    reader: &mut Reader<'_>,
    names: &Names,
    origin: &Origin,
    url: RedisUrl,
    others: Others,
) -> RedisConfig {
    let username = reader
        .text(names.username)
        .map(|(name, _)| name)
        .or(url.username.clone());
    let password = password(reader, names, url.password.clone());
    let ca_file = ca_file(reader, names, url.tls);
    let insecure = reader.boolean(names.insecure).unwrap_or(false);
    let Others { sentinels, cluster } = others;
    let plain = |host: &str| !url.tls && !insecure && !is_loopback(host);
    let is_open = match &sentinels {
        None => {
            let mut more = cluster.iter().filter_map(|server| host_of(server));
            plain(&url.host) || more.any(plain)
        }
        // What they name is looked at when it is connected to.
        Some(sentinels) => sentinels.hosts().any(plain),
    };
    if is_open {
        let remedy = format!(
            "use rediss://, or write insecure = true in [{}] if the network is trusted",
            names.table
        );
        let problem = "speaks plaintext to a Redis on another host";
        reader.error(origin, names.url, problem, remedy);
    }
    if username.is_some() && password.is_none() {
        let (table, variable) = (names.table, names.variable);
        reader.warnings.push(format!(
            "{table}: an ACL user without a password: set {table}.password_file or \
             {variable} unless the user is nopass"
        ));
    }
    let endpoint = match url.host.contains(':') {
        true => format!("[{}]:{}", url.host, url.port),
        false => format!("{}:{}", url.host, url.port),
    };
    RedisConfig {
        url: complete_url(&url, &endpoint, username.as_deref(), password.as_ref()),
        endpoint,
        host: url.host,
        port: url.port,
        username,
        password,
        password_file: reader
            .text(names.password_file)
            .map(|(path, _)| path.into()),
        database: url.database,
        tls: url.tls,
        insecure,
        ca_file,
        sentinels,
        cluster,
    }
}

/// The authority that signed the server's certificate.
fn ca_file(reader: &mut Reader<'_>, names: &Names, tls: bool) -> Option<PathBuf> {
    let (path, origin) = reader.text(names.ca_file)?;
    if !tls {
        let problem = "has no meaning without TLS";
        reader.error(&origin, names.ca_file, problem, "use rediss://");
    } else if let Err(error) = std::fs::File::open(&path) {
        let problem = format!("cannot be read: {error}");
        reader.error(&origin, names.ca_file, problem, "give a readable PEM file");
    }
    Some(path.into())
}

/// More servers of the cluster that the URL names one of; empty: it is none.
fn cluster(reader: &mut Reader<'_>, has_sentinels: bool, database: u32) -> Vec<String> {
    const KEY: &str = "store.cluster";
    let servers = reader.parsed_list(KEY, "host:port, as in 10.0.0.7:6379");
    let servers: Vec<String> = servers.into_iter().map(|Server(text)| text).collect();
    if servers.is_empty() {
        return servers;
    }
    let origin = reader.find(KEY).map_or(Origin::Default, |item| item.origin);
    if has_sentinels {
        let problem = "and store.sentinels are both set: a cluster has no sentinels";
        reader.error(&origin, KEY, problem, "keep one of them");
    }
    if database != 0 {
        let problem = "names a cluster, which has no database but 0";
        reader.error(&origin, KEY, problem, "write no database in store.url");
    }
    servers
}

/// One source of the password, or an error when there are several.
fn password(
    reader: &mut Reader<'_>,
    names: &Names,
    in_url: Option<Secret<String>>,
) -> Option<Secret<String>> {
    let plain = reader.text(names.password);
    let file = reader.text(names.password_file);
    if let (Some(_), Some((_, origin))) = (&plain, &file) {
        let problem = format!("and {} are both set", names.password);
        reader.error(origin, names.password_file, problem, "keep one of them");
    }
    if let Some((text, _)) = plain {
        return Some(Secret::new(text));
    }
    let Some((path, origin)) = file else {
        return in_url;
    };
    private(reader, names.password_file, &path, &origin)
}

/// What a file holds that only its owner may read.
pub(super) fn private(
    reader: &mut Reader<'_>,
    key: &'static str,
    path: &str,
    origin: &Origin,
) -> Option<Secret<String>> {
    match cluster_key::read_private(Path::new(path)) {
        Ok(text) => Some(Secret::new(
            text.expose().trim_end_matches(['\r', '\n']).to_owned(),
        )),
        Err(error) => {
            let remedy = "give a file that only its owner can read";
            reader.error(origin, key, error.to_string(), remedy);
            None
        }
    }
}

fn complete_url(
    url: &RedisUrl,
    endpoint: &str,
    username: Option<&str>,
    password: Option<&Secret<String>>,
) -> Secret<String> {
    use shared::api::route::encode;
    let scheme = if url.tls { "rediss" } else { "redis" };
    let user = username.map(encode).unwrap_or_default();
    let credentials = match password {
        Some(password) => format!("{user}:{}@", encode(password.expose())),
        None if user.is_empty() => String::new(),
        None => format!("{user}@"),
    };
    Secret::new(format!(
        "{scheme}://{credentials}{endpoint}/{}",
        url.database
    ))
}

/// Whether a host's name or address stays on this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl RedisUrl {
    /// `redis://` or `rediss://` `[user][:password]@host[:port][/db]`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match text.split_once("://") {
            Some(("redis" | "valkey", rest)) => (false, rest),
            Some(("rediss" | "valkeys", rest)) => (true, rest),
            _ => return Err("is no store that relayd knows"),
        };
        if rest.contains(['?', '#']) {
            return Err("has options behind ? or #, which relayd does not know");
        }
        let (rest, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match database {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| "has a database that is no number")?,
        };
        let (credentials, address) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (username, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(Secret::new(decode(password)?))),
            None => (credentials, None),
        };
        let username = Some(decode(username)?).filter(|name| !name.is_empty());
        let (host, port) = split_port(address)?;
        if host.is_empty() {
            return Err("names no host");
        }
        Ok(Self {
            tls,
            username,
            password,
            host: host.to_owned(),
            port,
            database,
        })
    }
}

fn split_port(address: &str) -> Result<(&str, u16), &'static str> {
    const BAD_PORT: &str = "has a port that is no number from 1 to 65535";
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("has an unclosed [")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("has no IPv6 address in its brackets");
            }
            (host, port.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        None => REDIS_PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(BAD_PORT)?,
    };
    Ok((host, port))
}

/// Percent-decodes.
fn decode(text: &str) -> Result<String, &'static str> {
    const BAD: &str = "has a user or password with a broken percent-encoding";
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let digits = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .ok_or(BAD)?;
        let [byte] = cluster_key::parse_hex::<1>(digits).ok_or(BAD)?;
        out.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(out).map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let url = RedisUrl::parse("rediss://relay:p%40ss@[2001:db8::1]:7000/3").unwrap();
        assert!(url.tls);
        assert_eq!(url.username.as_deref(), Some("relay"));
        assert_eq!(url.password, Some(Secret::new("p@ss".to_owned())));
        assert_eq!(
            (url.host.as_str(), url.port, url.database),
            ("2001:db8::1", 7000, 3)
        );
        let url = RedisUrl::parse("redis://redis.internal").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.database),
            ("redis.internal", 6379, 0)
        );
        assert_eq!((url.username, url.password), (None, None));
    }

    #[test]
    fn broken_urls_say_what_is_broken() {
        for (url, problem) in [
            ("postgres://x", "no store"),
            ("redis://", "no host"),
            ("redis://host:99999", "port"),
            ("redis://host:0", "port"),
            ("redis://host/x", "database"),
            ("redis://u:%zz@host", "percent"),
            ("redis://[::1", "unclosed"),
            ("redis://host?x=1", "options"),
        ] {
            let error = RedisUrl::parse(url).unwrap_err();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }
}
