//! `plain-forwarder`: moves packets as a relay does, without being one. The comparison of servers
//! measures it beside them.

use std::net::SocketAddr;

use clap::Parser;
use kit::forwarder::{self, Account, Mode};
use turn_proto::auth::credential::LongTermKey;

/// Forwards ChannelData without checking anything: the limit of what a relay can reach.
///
/// Never run it where strangers can reach it: it relays for everybody, everywhere.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where clients come to: a loopback address and a port
    #[arg(long, value_parser = loopback)]
    listen: SocketAddr,
    /// How packets pass through the kernel
    #[arg(long, value_enum)]
    mode: Mode,
    /// The realm, user and password that its answers are signed for
    #[arg(long)]
    realm: String,
    #[arg(long)]
    user: String,
    #[arg(long)]
    password: String,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let account = Account {
        key: LongTermKey::derive(&arguments.user, &arguments.realm, &arguments.password),
        realm: arguments.realm,
    };
    Ok(forwarder::run(arguments.listen, arguments.mode, account)?)
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "not as in 127.0.0.1:3478")?;
    if !address.ip().is_loopback() {
        return Err("it relays for everybody: on a loopback address only".to_owned());
    }
    Ok(address)
}
