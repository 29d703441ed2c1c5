//! What stands around the relay: the database, the administrator's port, metrics.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::connection::Connection;
use super::given::locate;
use super::translation::Translation;
use crate::config::error::Origin;
use crate::config::file::Value;
use crate::config::local_password;
use crate::config::store::is_loopback;

/// coturn's defaults.
const CLI_PORT: i64 = 5766;
const PROMETHEUS_PORT: i64 = 9641;
/// Where coturn keeps its users where nothing is said, as packages build it.
const DATABASES: &[&str] = &[
    "/var/lib/turn/turndb",
    "/var/db/turndb",
    "/usr/local/var/db/turndb",
];
const PORTS: std::ops::RangeInclusive<i64> = 1..=65_535;

/// How a connection string is written.
const CONNECTION: &str = "write ip=ADDRESS port=PORT dbname=NUMBER user=NAME password=PASSWORD";
/// What the settings of a connection to Redis are called: URL, user, password, authority, plain text.
const STORE: [&str; 5] = [
    "store.url",
    "store.username",
    "store.password",
    "store.ca_file",
    "store.insecure",
];
const STATSDB: [&str; 5] = [
    "statsdb.url",
    "statsdb.username",
    "statsdb.password",
    "statsdb.ca_file",
    "statsdb.insecure",
];

pub(super) fn translate(all: &mut Translation<'_>) {
    database(all);
    statistics(all);
    administration(all);
    metrics(all);
}

/// Of several databases the last one counts.
fn database(all: &mut Translation<'_>) {
    if let Some((text, origin)) = all.text("redis-userdb") {
        match Connection::parse(text) {
            Ok(connection) => redis(all, "redis-userdb", STORE, origin, &connection),
            Err(problem) => all.refuse_at(origin, "redis-userdb", &problem, CONNECTION),
        }
        if let Some(given) = all.last("userdb") {
            all.tell(given, "redis-userdb is used instead");
        }
        return;
    }
    if let Some((path, origin)) = all.text("userdb") {
        let path = locate(Path::new(path)).unwrap_or_else(|| path.into());
        let path = path.to_string_lossy().into_owned();
        all.set("store.turndb", origin, Value::Text(path));
        return;
    }
    let can_open = |path: &&Path| File::options().read(true).write(true).open(path).is_ok();
    let default = DATABASES.iter().map(Path::new).find(can_open);
    if let Some(path) = default.filter(|_| !all.consent.ignores_default_database) {
        let path = path.to_string_lossy().into_owned();
        all.tell_all(format!(
            "userdb: is not given: users are kept in {path}, as coturn does"
        ));
        all.set("store.turndb", &Origin::Default, Value::Text(path));
    }
}

/// The settings of `table` from the connection string of `option`.
fn redis(
    all: &mut Translation<'_>,
    option: &str,
    table: [&'static str; 5],
    origin: &Origin,
    connection: &Connection,
) {
    let [url, username, password, ca_file, insecure] = table;
    all.set(url, origin, Value::Text(connection.url()));
    if let Some(name) = &connection.username {
        all.set(username, origin, Value::Text(name.clone()));
    }
    if let Some(word) = &connection.password {
        let word = word.expose().clone();
        all.set(password, origin, Value::Text(word));
    }
    if let Some(file) = connection.ca_file.as_ref().filter(|_| connection.tls) {
        all.set(ca_file, origin, Value::Text(file.clone()));
    }
    if !connection.tls && !is_loopback(&connection.host) {
        all.set(insecure, origin, Value::Boolean(true));
        all.tell_all(format!(
            "{origin}: {option}: what it holds crosses the network in plain text: use TLS (tls=true), or a tunnel"
        ));
    }
    if !connection.unused.is_empty() {
        let unused = connection.unused.join(", ");
        all.tell_all(format!(
            "{origin}: {option}: {unused}: relayd verifies the certificate of Redis with {ca_file} or the \
             system's authorities, and shows none"
        ));
    }
}

/// The Redis that is told of sessions and traffic.
fn statistics(all: &mut Translation<'_>) {
    let Some((text, origin)) = all.text("redis-statsdb") else {
        return;
    };
    match Connection::parse(text) {
        Ok(connection) => redis(all, "redis-statsdb", STATSDB, origin, &connection),
        Err(problem) => all.refuse_at(origin, "redis-statsdb", &problem, CONNECTION),
    }
}

/// The port for administrators, with coturn's one password, on this machine only.
fn administration(all: &mut Translation<'_>) {
    let is_switched_off = all.last("cli").is_some() && !all.is_on("cli");
    let is_closed = all.is_on("no-cli") || is_switched_off;
    let Some((password, origin)) = all.text("cli-password").filter(|_| !is_closed) else {
        return;
    };
    let port = all
        .number("cli-port", PORTS)
        .map_or(CLI_PORT, |(port, _)| port);
    let mut ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if let Some(given) = all.last("cli-ip") {
        let Some(wanted) = all.parsed::<IpAddr>(given, "a loopback address, as in 127.0.0.1")
        else {
            return;
        };
        if !wanted.is_loopback() {
            all.tell(
                given,
                "cli-password would cross the network: the port is not opened; use relayctl over SSH, or \
                 admin.listen with admin.tls_certificate and tokens (relayctl token create)",
            );
            return;
        }
        ip = wanted;
    }
    if !local_password::can_be_sent(password) {
        // coturn's telnet takes it, so the file starts.
        all.tell_all(format!(
            "{origin}: cli-password: {}: the port is not opened; {}",
            local_password::UNSENDABLE,
            local_password::FORM
        ));
        return;
    }
    let listen = SocketAddr::new(ip, u16::try_from(port).unwrap_or_default());
    all.set("admin.listen", origin, Value::Text(listen.to_string()));
    if let Err(problem) = local_password::parse(password) {
        all.refuse_at(origin, "cli-password", problem, local_password::FORM);
        return;
    }
    all.set("admin.password", origin, Value::Text(password.to_owned()));
}

/// Closed unless asked for, as with coturn.
fn metrics(all: &mut Translation<'_>) {
    let Some(given) = all.last("prometheus").filter(|_| all.is_on("prometheus")) else {
        all.set(
            "metrics.listen",
            &Origin::Default,
            Value::Text("off".to_owned()),
        );
        return;
    };
    let port = all
        .number("prometheus-port", PORTS)
        .map_or(PROMETHEUS_PORT, |(port, _)| port);
    let mut ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Some(address) = all.last("prometheus-address") {
        let Some(wanted) = all.parsed::<IpAddr>(address, "an address of this machine") else {
            return;
        };
        ip = wanted;
    }
    let listen = SocketAddr::new(ip, u16::try_from(port).unwrap_or_default());
    all.set(
        "metrics.listen",
        &given.origin,
        Value::Text(listen.to_string()),
    );
}
