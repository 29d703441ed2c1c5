//! Where clients come to, and what is relayed from where.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use shared::Transport;

use super::given::Given;
use super::translation::{Translation, Tree, item, text};
use crate::config::error::Origin;
use crate::config::file::{Item, Value};

/// The most threads of coturn.
const MAX_THREADS: i64 = 128;
const PORTS: std::ops::RangeInclusive<i64> = 1..=65_535;

pub(super) fn translate(all: &mut Translation<'_>, has_certificate: bool) {
    listen(all, has_certificate);
    relay_addresses(all);
    external_ips(all);
    relay_ports(all);
    workers(all);
    all.copy_switch("rfc5780", "rfc5780");
    // 0 is the port behind the first one, as it is by default.
    if let Some((port, origin)) = all.number("alt-listening-port", 0..=65_535)
        && port != 0
    {
        all.set("alt_listening_port", origin, Value::Integer(port));
    }
    all.copy_switch("mobility", "mobility");
    // Every release up to 4.15 takes them, and its clients draw them.
    let old_numbers = match all.last("rfc5766-channel-numbers") {
        Some(_) => all.is_on("rfc5766-channel-numbers"),
        None => true,
    };
    let origin = Origin::Default;
    all.set(
        "rfc5766_channel_numbers",
        &origin,
        Value::Boolean(old_numbers),
    );
    relayed_transports(all);
    all.copy_switch("fingerprint", "fingerprint");
    all.copy_number(
        "max-allocate-lifetime",
        "max_allocate_lifetime",
        600..=86_400,
    );
    all.copy_number("channel-lifetime", "channel_lifetime", 1..=7200);
    all.copy_number("permission-lifetime", "permission_lifetime", 1..=3600);
    let timeout = "connections.max_allocate_timeout";
    all.copy_number("max-allocate-timeout", timeout, 1..=3600);
    stun_and_turn(all);
}

/// What sessions may be for: UDP and TCP, unless one is switched off.
fn relayed_transports(all: &mut Translation<'_>) {
    let (no_udp, no_tcp) = (all.is_on("no-udp-relay"), all.is_on("no-tcp-relay"));
    let given = all.last("no-udp-relay").filter(|_| no_udp);
    if let Some(given) = given {
        if no_tcp {
            let problem = "leaves nothing to be relayed beside no-tcp-relay";
            all.refuse(
                given,
                problem,
                "remove one of them, or write stun-only instead",
            );
        }
        all.set("udp_relay", &given.origin, Value::Boolean(false));
    }
    all.set("tcp_relay", &Origin::Default, Value::Boolean(!no_tcp));
}

/// Which of the two protocols are spoken.
fn stun_and_turn(all: &mut Translation<'_>) {
    if let (true, Some(given)) = (all.is_on("no-stun"), all.last("no-stun")) {
        all.set("stun", &given.origin, Value::Boolean(false));
    }
    if let (true, Some(given)) = (all.is_on("stun-only"), all.last("stun-only")) {
        all.set("turn", &given.origin, Value::Boolean(false));
    }
    if let (true, Some(given)) = (
        all.is_on("software-attribute"),
        all.last("software-attribute"),
    ) {
        all.set("software", &given.origin, Value::Text("relayd".to_owned()));
    }
}

/// What is spoken on each of coturn's ports.
struct Spoken {
    /// Of all that can be served.
    transports: Vec<Transport>,
    /// Whether that is all that a listener serves where nothing is said.
    is_default: bool,
}

fn spoken(all: &mut Translation<'_>, has_certificate: bool) -> Spoken {
    let is_switched_off = all.last("dtls").is_some() && !all.is_on("dtls");
    let no_dtls = all.is_on("no-dtls") || is_switched_off;
    let no = [
        (Transport::Udp, all.is_on("no-udp")),
        (
            Transport::Tcp,
            all.is_on("no-tcp") || all.last("tcp-proxy-port").is_some(),
        ),
        (
            Transport::Tls,
            all.is_on("no-tls") || all.last("tcp-proxy-port").is_some(),
        ),
        (Transport::Dtls, no_dtls),
    ];
    let can = crate::config::listener::default_transports(has_certificate);
    let is_off = |transport: &Transport| no.iter().any(|(off, is_off)| off == transport && *is_off);
    let transports: Vec<_> = can.iter().copied().filter(|t| !is_off(t)).collect();
    Spoken {
        is_default: transports == can,
        transports,
    }
}

fn listen(all: &mut Translation<'_>, has_certificate: bool) {
    let spoken = spoken(all, has_certificate);
    let plain = all
        .number("listening-port", PORTS)
        .map_or(3478, |(port, _)| port);
    let secure = all
        .number("tls-listening-port", PORTS)
        .map_or(5349, |(port, _)| port);
    let proxied = all.number("tcp-proxy-port", PORTS);
    let mut ports = vec![plain];
    let encrypted = [Transport::Tls, Transport::Dtls];
    if secure != plain && spoken.transports.iter().any(|t| encrypted.contains(t)) {
        ports.push(secure);
    }
    second_tls_port(all, plain, ports.get(1).copied());
    let addresses = addresses(all, "listening-ip", "listening-device");
    let mut listeners: Vec<Item> = Vec::new();
    let addresses = match addresses.is_empty() {
        true => ["0.0.0.0", "::"]
            .map(|ip| (ip.parse().ok(), Origin::Default))
            .to_vec(),
        false => addresses
            .into_iter()
            .map(|(ip, origin)| (Some(ip), origin))
            .collect(),
    };
    for (ip, origin) in &addresses {
        let Some(ip) = ip else { continue };
        if !spoken.transports.is_empty() {
            for &port in &ports {
                listeners.push(listener(origin, *ip, port, &spoken));
            }
        }
        if let Some((port, _)) = proxied {
            listeners.push(proxied_listener(origin, *ip, port, has_certificate));
        }
    }
    let auxiliary = all
        .all("aux-server")
        .filter(|_| !spoken.transports.is_empty());
    for given in auxiliary {
        if let Some(address) = all.parsed::<SocketAddr>(given, "address:port, as in 192.0.2.1:3479")
        {
            let port = i64::from(address.port());
            listeners.push(listener(&given.origin, address.ip(), port, &spoken));
        }
    }
    if listeners.is_empty() {
        let problem = "leave nothing to be served";
        let remedy = "remove no-udp or no-tcp";
        all.refuse_at(&Origin::Default, "no-udp, no-tcp, no-tls", problem, remedy);
        return;
    }
    if let Some((_, origin)) = proxied {
        all.tell_all(format!(
            "{origin}: tcp-proxy-port: whoever reaches that port can name any client address: name your proxies \
             with proxy_from of the listener"
        ));
    }
    all.set("listen", &Origin::Default, Value::List(listeners));
}

/// The port that is paired with that of TLS, where there is discovery at all: the one behind it, as coturn has
/// it, unless that is taken.
fn second_tls_port(all: &mut Translation<'_>, plain: i64, tls_port: Option<i64>) {
    let (Some(tls_port), true) = (tls_port, all.is_on("rfc5780")) else {
        return;
    };
    let given = match all.text_unless_empty("alt-tls-listening-port") {
        Some(_) => all.number("alt-tls-listening-port", 0..=65_535),
        None => None,
    };
    let given = given.filter(|(port, _)| *port != 0);
    let alternate = all.number("alt-listening-port", 0..=65_535);
    let alternate = alternate.filter(|(port, _)| *port != 0);
    let taken = [plain, alternate.map_or(plain + 1, |(port, _)| port)];
    let next = Some(tls_port + 1).filter(|port| PORTS.contains(port) && !taken.contains(port));
    let found = given.or(next.map(|port| (port, &Origin::Default)));
    if let Some((port, origin)) = found {
        all.set("alt_tls_listening_port", origin, Value::Integer(port));
    }
}

fn listener(origin: &Origin, ip: IpAddr, port: i64, spoken: &Spoken) -> Item {
    let address = text(origin, address_text(ip, port));
    if spoken.is_default {
        return address;
    }
    let names = spoken.transports.iter();
    let names = names
        .map(|transport| text(origin, transport.to_string()))
        .collect();
    let mut table = Tree::new();
    table.insert("address".to_owned(), address);
    table.insert("transports".to_owned(), item(origin, Value::List(names)));
    item(origin, Value::Table(table))
}

/// As coturn has it, any source may be a proxy.
fn proxied_listener(origin: &Origin, ip: IpAddr, port: i64, has_certificate: bool) -> Item {
    let list = |texts: &[&str]| {
        let texts = texts.iter().map(|one| text(origin, *one)).collect();
        item(origin, Value::List(texts))
    };
    let transports: &[&str] = if has_certificate {
        &["tcp", "tls"]
    } else {
        &["tcp"]
    };
    let sources: &[&str] = if ip.is_ipv4() {
        &["0.0.0.0/0"]
    } else {
        &["::/0"]
    };
    let mut table = Tree::new();
    table.insert("address".to_owned(), text(origin, address_text(ip, port)));
    table.insert("transports".to_owned(), list(transports));
    table.insert("proxy_from".to_owned(), list(sources));
    item(origin, Value::Table(table))
}

fn address_text(ip: IpAddr, port: i64) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

/// The addresses of `list`; where there are none, those of `device`.
fn addresses(
    all: &mut Translation<'_>,
    list: &'static str,
    device: &'static str,
) -> Vec<(IpAddr, Origin)> {
    let mut found: Vec<(IpAddr, Origin)> = Vec::new();
    for given in all.all(list) {
        let wanted = "an address of this machine, as in 192.0.2.1";
        let Some(ip) = all.parsed::<IpAddr>(given, wanted) else {
            continue;
        };
        if !found.iter().any(|(known, _)| *known == ip) {
            found.push((ip, given.origin.clone()));
        }
    }
    let Some((name, origin)) = all.text(device) else {
        return found;
    };
    let here: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(|interface| interface.name == name && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    let shown = shared::display_safe(name);
    if found.is_empty() && here.is_empty() {
        let problem = format!("{shown} has no address, or is no device of this machine");
        all.refuse_at(
            origin,
            device,
            &problem,
            &format!("write {list}=ADDRESS instead"),
        );
    }
    if found.is_empty() {
        return here.into_iter().map(|ip| (ip, origin.clone())).collect();
    }
    if let Some((ip, _)) = found.iter().find(|(ip, _)| !here.contains(ip)) {
        let message = format!(
            "{origin}: {device}: {shown} does not have {ip}: {list} decides which addresses are used"
        );
        all.tell_all(message);
    }
    found
}

fn relay_addresses(all: &mut Translation<'_>) {
    let found = addresses(all, "relay-ip", "relay-device");
    if found.is_empty() {
        return;
    }
    let origin = found[0].1.clone();
    let items = found
        .iter()
        .map(|(ip, origin)| text(origin, ip.to_string()));
    all.set("relay_addresses", &origin, Value::List(items.collect()));
}

fn external_ips(all: &mut Translation<'_>) {
    let mut ips: Vec<(IpAddr, bool, Item)> = Vec::new();
    for given in all.all("external-ip") {
        let value = given.value.as_deref().unwrap_or_default();
        let (public, local) = match value.split_once('/') {
            Some((public, local)) => (public, Some(local)),
            None => (value, None),
        };
        let Some(public) = resolved(all, given, public) else {
            continue;
        };
        if local.is_none() {
            // One stands for all addresses of a family: of several the last counts, as of other options.
            let before = ips.len();
            ips.retain(|(known, local, _)| *local || known.is_ipv4() != public.is_ipv4());
            if ips.len() < before {
                all.tell(given, "is used instead of the one before");
            }
        }
        let both = local.map_or_else(|| public.to_string(), |local| format!("{public}/{local}"));
        ips.push((public, local.is_some(), text(&given.origin, both)));
    }
    let ips: Vec<Item> = ips.into_iter().map(|(.., item)| item).collect();
    if let Some(first) = ips.first() {
        let origin = first.origin.clone();
        all.set("external_ips", &origin, Value::List(ips));
    }
}

/// An address, or what a name stands for at this moment.
fn resolved(all: &mut Translation<'_>, given: &Given, name: &str) -> Option<IpAddr> {
    if let Ok(ip) = name.parse() {
        return Some(ip);
    }
    let found = (name, 0_u16)
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next());
    let shown = shared::display_safe(name);
    let Some(address) = found else {
        let problem = format!("{shown:?} is no address, and no name that can be resolved");
        all.refuse(
            given,
            &problem,
            "write PUBLIC or PUBLIC/LOCAL, as in 203.0.113.5/10.0.0.5",
        );
        return None;
    };
    let ip = address.ip();
    all.tell(
        given,
        &format!("{shown} is {ip} until the next start: write the address"),
    );
    Some(ip)
}

fn relay_ports(all: &mut Translation<'_>) {
    let first = all.number("min-port", 1024..=65_535);
    let last = all.number("max-port", 1024..=65_535);
    let Some((_, origin)) = first.or(last) else {
        return;
    };
    let (first, last) = (first.map_or(49_152, |n| n.0), last.map_or(65_535, |n| n.0));
    all.set(
        "relay_ports",
        origin,
        Value::Text(format!("{first}-{last}")),
    );
}

/// More workers than cores would only take turns.
fn workers(all: &mut Translation<'_>) {
    let name = match all.last("relay-threads") {
        Some(_) => "relay-threads",
        None => "cpus",
    };
    let Some((number, origin)) = all.number(name, 0..=i64::MAX) else {
        return;
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = i64::try_from(cores).unwrap_or(1).min(MAX_THREADS);
    let workers = number.clamp(1, cores);
    if number > workers {
        all.tell_all(format!(
            "{origin}: {name}: {number} threads would take turns on {cores} cores: relayd has {workers} workers"
        ));
    }
    all.set("workers", origin, Value::Integer(workers));
}
