//! The steps of the echo.

use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::EchoWay;
use super::echo::{self, Figures, Mirror, channel};
use super::report::{Stage, Status, Verdict};
use super::run::{Check, Server, Stop};
use crate::turn::link::{Link, bound_towards};
use crate::turn::requests::Allocated;
use crate::turn::resolve::Target;
use crate::turn::{Client, TurnError};

impl Check<'_> {
    /// The echo through each relay address.
    pub(super) async fn echoes(
        &mut self,
        client: &mut Client,
        target: &Target,
        server: &Server,
        allocated: &Allocated,
    ) -> Result<(), Stop> {
        let way = self.options.echo;
        for relay in &allocated.relays {
            let same_family = relay.is_ipv4() == allocated.mapped.is_ipv4();
            let mut echoed = None;
            if way == EchoWay::Socket || way == EchoWay::Auto && same_family {
                echoed = self
                    .at_socket(client, server, *relay, allocated.mapped)
                    .await?;
            }
            if echoed.is_none() && matches!(way, EchoWay::Auto | EchoWay::Relay) {
                self.at_relay(client, target, server, *relay).await?;
            }
        }
        Ok(())
    }

    /// The echo at a socket of ours; `None`: the relay does not reach it, so try the other way.
    async fn at_socket(
        &mut self,
        client: &mut Client,
        server: &Server,
        relay: SocketAddr,
        mapped: SocketAddr,
    ) -> Result<Option<()>, Stop> {
        let decides = self.options.echo == EchoWay::Socket;
        let severity = if decides {
            Status::Failed
        } else {
            Status::Warn
        };
        let start = Instant::now();
        let ours = SocketAddr::new(mapped.ip(), 0);
        if let Err(error) = client.permit(&[ours]).await {
            return self.declined(Stage::Permission, server, start, &error, severity);
        }
        let text = format!("peer {}, our own address", mapped.ip());
        self.step(
            Stage::Permission,
            Status::Ok,
            start,
            Some(server),
            text,
            None,
        );
        let start = Instant::now();
        let patience = self.options.patience;
        let knocked = async {
            let socket = bound_towards(relay).await?;
            let peer = echo::knock(client, &socket, patience).await?;
            Ok::<_, TurnError>(peer.map(|peer| (socket, peer)))
        };
        let (socket, peer) = match knocked.await {
            Ok(Some(found)) => found,
            Ok(None) => {
                let text = format!("{relay} does not hear a socket of ours");
                let remedy = "relay ports may be closed to this network, or the relay address is \
                              not the public one (relayd: external address)";
                self.step(
                    Stage::Channel,
                    severity,
                    start,
                    Some(server),
                    text,
                    Some(remedy),
                );
                return declined(decides, Verdict::Echo);
            }
            Err(error) => return self.declined(Stage::Channel, server, start, &error, severity),
        };
        if let Err(error) = client.bind_channel(channel(), peer).await {
            return self.declined(Stage::Channel, server, start, &error, severity);
        }
        let text = format!("{:#06x} to {peer}, a socket of ours", echo::CHANNEL);
        self.step(Stage::Channel, Status::Ok, start, Some(server), text, None);
        let mut mirror = Mirror::Socket(socket);
        let way = (relay, peer, !decides);
        self.measure(client, &mut mirror, server, way).await
    }

    /// The echo at a second allocation of ours.
    async fn at_relay(
        &mut self,
        client: &mut Client,
        target: &Target,
        server: &Server,
        relay: SocketAddr,
    ) -> Result<(), Stop> {
        let start = Instant::now();
        let (mut second, peer) = match self.second(target, relay).await {
            Ok(second) => second,
            Err(error) => {
                let stop = Stop::Refused(Verdict::Echo);
                return self.lost(Stage::Allocate, server, start, &error, stop);
            }
        };
        let text = format!("relay {peer}, a second allocation for the echo");
        self.step(Stage::Allocate, Status::Ok, start, Some(server), text, None);
        let measured = self
            .between(client, &mut second, server, (relay, peer))
            .await;
        if let Mirror::Relay(mut client) = second {
            // The first release is the one that is told.
            let _ = client.refresh(Duration::ZERO).await;
        }
        measured
    }

    /// A second allocation with a relay address of the family of `relay`.
    async fn second(
        &mut self,
        target: &Target,
        relay: SocketAddr,
    ) -> Result<(Mirror, SocketAddr), TurnError> {
        let options = self.options;
        let name = self.uri.host.to_string();
        let link = Link::open(target, &name, &options.tls, options.patience).await?;
        let mut client = Client::new(link, options.login.clone(), options.patience);
        let allocated = client.allocate(options.family).await?;
        let fits = |other: &&SocketAddr| other.is_ipv4() == relay.is_ipv4();
        let peer = allocated.relays.iter().find(fits);
        let peer = *peer.ok_or(TurnError::Incomplete("relay address of the same family"))?;
        Ok((Mirror::Relay(Box::new(client)), peer))
    }

    async fn between(
        &mut self,
        client: &mut Client,
        mirror: &mut Mirror,
        server: &Server,
        (relay, peer): (SocketAddr, SocketAddr),
    ) -> Result<(), Stop> {
        let Mirror::Relay(second) = &mut *mirror else {
            return Ok(());
        };
        let start = Instant::now();
        let permitted = both(client.permit(&[peer]), second.permit(&[relay])).await;
        let text = format!("relay to relay: {relay} and {peer}");
        self.passed(Stage::Permission, server, start, permitted, text)?;
        let start = Instant::now();
        let bound = both(
            client.bind_channel(channel(), peer),
            second.bind_channel(channel(), relay),
        );
        let bound = bound.await;
        let text = format!("{:#06x} on both sides", echo::CHANNEL);
        self.passed(Stage::Channel, server, start, bound, text)?;
        let way = (relay, peer, false);
        self.measure(client, mirror, server, way).await.map(drop)
    }

    /// The packets. `None`: nothing came back, and another way is left.
    async fn measure(
        &mut self,
        client: &mut Client,
        mirror: &mut Mirror,
        server: &Server,
        (relay, peer, another_way): (SocketAddr, SocketAddr, bool),
    ) -> Result<Option<()>, Stop> {
        let start = Instant::now();
        let times = match echo::measure(client, mirror, self.options).await {
            Ok(times) => times,
            Err(error) => {
                let stop = Stop::Refused(Verdict::Echo);
                return self.lost(Stage::Echo, server, start, &error, stop);
            }
        };
        let (received, [rtt_min_ms, rtt_avg_ms, rtt_p99_ms]) = echo::summary(&times);
        let figures = Figures {
            relay,
            peer,
            over_second_relay: matches!(mirror, Mirror::Relay(_)),
            sent: times.len() as u32,
            received,
            rtt_min_ms,
            rtt_avg_ms,
            rtt_p99_ms,
        };
        let (sent, loss) = (figures.sent, figures.loss_percent());
        let mut text = format!("{received} of {sent} packets came back, loss {loss:.1}%");
        if received > 0 {
            let _ = write!(
                text,
                ", RTT min/avg/p99 {rtt_min_ms:.1}/{rtt_avg_ms:.1}/{rtt_p99_ms:.1} ms"
            );
        }
        self.report.echo.push(figures);
        let status = match received {
            0 if another_way => Status::Warn,
            _ if loss > f64::from(self.options.max_loss) => Status::Failed,
            _ => Status::Ok,
        };
        let remedy = match (status, received) {
            (Status::Ok, _) => None,
            (_, 0) => Some(
                "requests pass and data does not: the server reaches no peer on that address, or \
                 something on the way drops what is no STUN",
            ),
            _ => Some(
                "packets are lost between here and the server, or in the server: its drop \
                 counters tell which; a lower pace is --interval",
            ),
        };
        self.step(Stage::Echo, status, start, Some(server), text, remedy);
        match status {
            Status::Ok => Ok(Some(())),
            Status::Warn => Ok(None),
            Status::Failed => Err(Stop::Refused(Verdict::Echo)),
        }
    }

    /// Tells a failure of the echo at a socket, which is the end only where no other way is left.
    fn declined(
        &mut self,
        stage: Stage,
        server: &Server,
        start: Instant,
        error: &TurnError,
        status: Status,
    ) -> Result<Option<()>, Stop> {
        self.told(stage, server, start, error, status);
        declined(status == Status::Failed, Verdict::of(stage))
    }
}

fn declined(decides: bool, verdict: Verdict) -> Result<Option<()>, Stop> {
    if decides {
        return Err(Stop::Refused(verdict));
    }
    Ok(None)
}

/// Both, and the first error of either.
async fn both(
    one: impl Future<Output = Result<(), TurnError>>,
    other: impl Future<Output = Result<(), TurnError>>,
) -> Result<(), TurnError> {
    let (one, other) = tokio::join!(one, other);
    one.and(other)
}
