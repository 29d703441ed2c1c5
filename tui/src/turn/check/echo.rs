//! Data there and back through the relay.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::{Instant, interval, timeout_at};
use turn_proto::channel_data::ChannelNumber;

use super::CheckOptions;
use crate::turn::{Client, Incoming, TurnError};

/// The channel of the echo on both sides.
pub(super) const CHANNEL: u16 = 0x4000;
/// Bytes of one packet: an audio packet's.
const PACKET: usize = 160;
/// What every packet of one echo begins with, so that strangers' packets do not count.
const MARK: usize = 8;
/// Between two tries to be heard by the relay.
const KNOCK: Duration = Duration::from_millis(200);
/// How long those go on at most.
const KNOCKING: Duration = Duration::from_millis(1500);
/// How long stragglers are waited for behind the last packet.
const STRAGGLERS: Duration = Duration::from_secs(1);
/// Packets of one echo at most.
pub(super) const MAX_PACKETS: u32 = 10_000;

/// How an echo went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The relay address.
    pub relay: SocketAddr,
    /// Where it was sent back: an address of ours, or our second relay address.
    pub peer: SocketAddr,
    /// Whether that is a second allocation.
    pub over_second_relay: bool,
    /// Packets sent.
    pub sent: u32,
    /// Packets that came back.
    pub received: u32,
    /// Shortest time there and back, in milliseconds.
    pub rtt_min_ms: f64,
    /// Mean.
    pub rtt_avg_ms: f64,
    /// 99 of 100 were not slower.
    pub rtt_p99_ms: f64,
}

impl Figures {
    /// Lost packets, in percent.
    #[must_use]
    pub fn loss_percent(&self) -> f64 {
        f64::from(self.sent - self.received) * 100.0 / f64::from(self.sent.max(1))
    }
}

/// Who sends the data back.
pub(super) enum Mirror {
    /// A socket of ours.
    Socket(UdpSocket),
    /// A second allocation.
    Relay(Box<Client>),
}

impl Mirror {
    /// What arrives there. Nothing is lost when the future is dropped.
    async fn recv(&mut self) -> Result<Vec<u8>, TurnError> {
        match self {
            Self::Socket(socket) => {
                let mut buffer = vec![0; 2048];
                let len = socket.recv(&mut buffer).await?;
                buffer.truncate(len);
                Ok(buffer)
            }
            Self::Relay(client) => Ok(client.data().await?.payload().to_vec()),
        }
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), TurnError> {
        match self {
            Self::Socket(socket) => {
                socket.send(payload).await?;
                Ok(())
            }
            Self::Relay(client) => client.send_on(channel(), payload).await,
        }
    }
}

/// The channel of the echo.
pub(super) fn channel() -> ChannelNumber {
    ChannelNumber::new(CHANNEL).expect("0x4000 is a channel number")
}

/// Sends from `socket` to the relay address until the relay hands it on: so its address is known
/// as the relay sees it, and every NAT on the way lets the answers in. `None`: nothing came.
pub(super) async fn knock(
    client: &mut Client,
    socket: &UdpSocket,
    patience: Duration,
) -> Result<Option<SocketAddr>, TurnError> {
    let mark = mark()?;
    let end = Instant::now() + patience.min(KNOCKING);
    while Instant::now() < end {
        // Nobody there yet is no reason to stop: the relay address may be out of reach from here.
        let _ = socket.send(&mark).await;
        let until = (Instant::now() + KNOCK).min(end);
        while let Ok(data) = timeout_at(until, client.data()).await {
            if let Incoming::Data { peer, payload } = data?
                && payload == mark
            {
                return Ok(Some(peer));
            }
        }
    }
    Ok(None)
}

/// Sends the packets, has them sent back, and counts.
pub(super) async fn measure(
    client: &mut Client,
    mirror: &mut Mirror,
    options: &CheckOptions,
) -> Result<Vec<Option<Duration>>, TurnError> {
    let mark = mark()?;
    let packets = options.packets.clamp(1, MAX_PACKETS) as usize;
    let mut sent: Vec<Instant> = Vec::with_capacity(packets);
    let mut back: Vec<Option<Duration>> = vec![None; packets];
    let mut missing = packets;
    let mut pace = interval(options.interval.max(Duration::from_millis(1)));
    let mut end = None;
    while missing > 0 {
        let until = end.unwrap_or_else(|| Instant::now() + options.patience);
        tokio::select! {
            _ = pace.tick(), if sent.len() < packets => {
                let number = sent.len() as u32;
                sent.push(Instant::now());
                client.send_on(channel(), &packet(mark, number)).await?;
                if sent.len() == packets {
                    end = Some(Instant::now() + STRAGGLERS);
                }
            }
            data = mirror.recv() => mirror.send(&data?).await?,
            data = client.data() => {
                let data = data?;
                let number = number_of(data.payload(), mark).filter(|n| *n < sent.len());
                if let Some(number) = number && back[number].is_none() {
                    back[number] = Some(sent[number].elapsed());
                    missing -= 1;
                }
            }
            () = tokio::time::sleep_until(until) => break,
        }
    }
    Ok(back)
}

/// Least, mean and 99th percentile of the times, in milliseconds.
pub(super) fn summary(times: &[Option<Duration>]) -> (u32, [f64; 3]) {
    let mut came: Vec<f64> = times
        .iter()
        .flatten()
        .map(|time| super::report::millis(*time))
        .collect();
    came.sort_by(f64::total_cmp);
    let (Some(least), count) = (came.first(), came.len()) else {
        return (0, [0.0; 3]);
    };
    let mean = came.iter().sum::<f64>() / count as f64;
    let p99 = came[(count * 99).div_ceil(100).max(1) - 1];
    let rounded = (mean * 1e3).round() / 1e3;
    (count as u32, [*least, rounded, p99])
}

fn mark() -> Result<[u8; MARK], TurnError> {
    let mut mark = [0; MARK];
    getrandom::fill(&mut mark).map_err(std::io::Error::other)?;
    Ok(mark)
}

fn packet(mark: [u8; MARK], number: u32) -> Vec<u8> {
    let mut packet = mark.to_vec();
    packet.extend_from_slice(&number.to_be_bytes());
    packet.resize(PACKET, 0);
    packet
}

fn number_of(packet: &[u8], mark: [u8; MARK]) -> Option<usize> {
    let number = packet.strip_prefix(&mark)?.first_chunk()?;
    usize::try_from(u32::from_be_bytes(*number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_leaves_one_of_a_hundred_out() {
        let times: Vec<_> = (1..=100)
            .rev()
            .map(|n| Some(Duration::from_millis(n)))
            .collect();
        assert_eq!(summary(&times), (100, [1.0, 50.5, 99.0]));
        let few = [
            Some(Duration::from_millis(4)),
            None,
            Some(Duration::from_millis(2)),
        ];
        assert_eq!(summary(&few), (2, [2.0, 3.0, 4.0]));
        assert_eq!(summary(&[None]), (0, [0.0; 3]));
    }

    #[test]
    fn packets_of_others_have_no_number() {
        let mark = [7; MARK];
        assert_eq!(number_of(&packet(mark, 41), mark), Some(41));
        assert_eq!(number_of(&packet([8; MARK], 41), mark), None);
        assert_eq!(number_of(&mark, mark), None);
    }
}
