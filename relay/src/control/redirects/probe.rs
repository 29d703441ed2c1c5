//! Whether targets answer: STUN Binding over UDP, from whoever sends clients there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use shared::api::{EventKind, RedirectHealth, Severity};
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;
use turn_proto::stun::{Message, MessageBuilder, Method, TransactionId};

use super::apply;
use crate::config::RedirectProbes;
use crate::control::clock::Moment;
use crate::control::hub::Hub;
use crate::control::keys;

/// How often one is asked of which nothing is known yet, or that has just missed an answer.
const DOUBT: Duration = Duration::from_secs(1);
/// Sendings of one question.
const SENDINGS: u32 = 2;
/// Room for an answer; what is longer is cut, and no answer of interest is.
const DATAGRAM: usize = 1500;

/// A target as this node sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// Whether it answers.
    pub(super) health: RedirectHealth,
    /// Since when.
    pub(super) since_ms: u64,
    misses: u8,
    asked: Option<Instant>,
}

impl Target {
    fn is_due(&self, probes: &RedirectProbes, now: Instant) -> bool {
        let in_doubt = match self.health {
            RedirectHealth::Unknown => true,
            RedirectHealth::Up => self.misses > 0,
            RedirectHealth::Down => false,
        };
        let interval = if in_doubt { DOUBT } else { probes.interval };
        // A little early is no matter; a tick late would double the interval.
        let soon = now + DOUBT / 2;
        self.asked.is_none_or(|asked| asked + interval <= soon)
    }

    /// Takes the outcome of a question; answers the state before it, if that ended.
    fn note(&mut self, most: u8, answered: bool, now: Moment) -> Option<RedirectHealth> {
        self.asked = Some(now.mono);
        self.misses = if answered {
            0
        } else {
            self.misses.saturating_add(1)
        };
        let health = if answered {
            RedirectHealth::Up
        } else if self.misses >= most {
            RedirectHealth::Down
        } else {
            self.health
        };
        let before = std::mem::replace(&mut self.health, health);
        (before != health).then(|| {
            self.since_ms = now.unix_ms;
            before
        })
    }
}

/// Asks the targets of this node until it stops.
pub(in crate::control) async fn run(hub: Arc<Hub>) {
    let mut tick = tokio::time::interval(DOUBT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = Instant::now();
        let probes = hub.settings.loaded().redirects.probes;
        let due: Vec<SocketAddr> = {
            let targets = hub.redirects.targets();
            let due = targets
                .iter()
                .filter(|(_, target)| target.is_due(&probes, now));
            due.map(|(address, _)| *address).collect()
        };
        let answers = tokio::select! {
            () = hub.cancel.cancelled() => return,
            answers = join_all(due.iter().map(|target| answers(*target, probes.timeout))) => answers,
        };
        let mut turned = false;
        for (target, answered) in due.into_iter().zip(answers) {
            turned |= note(&hub, target, probes.misses, answered);
        }
        if turned && apply(&hub) {
            hub.policy_stale.notify_one();
        }
    }
}

/// Takes an outcome into the books; `true` when the state of the target is another now.
fn note(hub: &Hub, address: SocketAddr, most: u8, answered: bool) -> bool {
    let turned = {
        let mut targets = hub.redirects.targets();
        let target = targets.get_mut(&address);
        target.and_then(|target| Some((target.note(most, answered, Moment::now())?, target.health)))
    };
    let (severity, text) = match turned {
        Some((_, RedirectHealth::Down)) => {
            let text = format!("{address} does not answer: no client is sent there");
            (Severity::Warn, text)
        }
        Some((RedirectHealth::Down, _)) => {
            let text = format!("{address} answers again: clients are sent there");
            (Severity::Notice, text)
        }
        turned => return turned.is_some(),
    };
    tracing::info!(%address, answered, "a target of redirects changed");
    hub.event(EventKind::RedirectChanged, severity, text);
    true
}

/// Whether a server answers a Binding request: with whatever, as long as it is the answer.
async fn answers(target: SocketAddr, wait: Duration) -> bool {
    match ask(target, wait).await {
        Ok(answered) => answered,
        Err(error) => {
            tracing::debug!(%target, %error, "a target of redirects cannot be asked");
            false
        }
    }
}

async fn ask(target: SocketAddr, wait: Duration) -> std::io::Result<bool> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: datagrams of others do not come in, and a closed port shows as an error.
    socket.connect(target).await?;
    let id = TransactionId(keys::random());
    let request = MessageBuilder::request(Method::Binding, id)
        .fingerprint()
        .finish();
    let mut buffer = [0; DATAGRAM];
    for _ in 0..SENDINGS {
        socket.send(&request).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                if is_answer(&buffer[..length], id) {
                    return std::io::Result::Ok(());
                }
            }
        };
        if let Ok(received) = tokio::time::timeout(wait, answer).await {
            return received.map(|()| true);
        }
    }
    Ok(false)
}

fn is_answer(bytes: &[u8], id: TransactionId) -> bool {
    use turn_proto::stun::Class::{Error, Success};
    Message::parse(bytes).is_ok_and(|message| {
        let answers = matches!(message.class(), Success | Error);
        answers && message.method() == Method::Binding && message.transaction() == id
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(400);

    /// Takes an outcome with three misses allowed.
    fn note(target: &mut Target, answered: bool, now: Moment) -> Option<RedirectHealth> {
        target.note(3, answered, now)
    }

    fn at(start: Moment, seconds: u64) -> Moment {
        Moment {
            mono: start.mono + Duration::from_secs(seconds),
            unix_ms: start.unix_ms + 1000 * seconds,
        }
    }

    #[test]
    fn three_misses_in_a_row_are_down_and_one_answer_is_up() {
        let start = Moment::now();
        let mut target = Target::default();
        assert!(target.is_due(&RedirectProbes::default(), start.mono));
        assert_eq!(
            note(&mut target, true, start),
            Some(RedirectHealth::Unknown)
        );
        assert_eq!(
            (target.health, target.since_ms),
            (RedirectHealth::Up, start.unix_ms)
        );
        for seconds in [5, 6] {
            assert_eq!(note(&mut target, false, at(start, seconds)), None);
        }
        assert_eq!(note(&mut target, true, at(start, 7)), None);
        for seconds in [12, 13] {
            assert_eq!(note(&mut target, false, at(start, seconds)), None);
        }
        let down = at(start, 14);
        assert_eq!(note(&mut target, false, down), Some(RedirectHealth::Up));
        assert_eq!(
            (target.health, target.since_ms),
            (RedirectHealth::Down, down.unix_ms)
        );
        assert_eq!(note(&mut target, false, at(start, 19)), None);
        assert_eq!(target.since_ms, down.unix_ms);
        assert_eq!(
            note(&mut target, true, at(start, 24)),
            Some(RedirectHealth::Down)
        );
    }

    #[test]
    fn who_is_in_doubt_is_asked_each_second_and_others_each_five() {
        let start = Moment::now();
        let mut target = Target::default();
        let probes = RedirectProbes::default();
        let due = |target: &Target, seconds| target.is_due(&probes, at(start, seconds).mono);
        note(&mut target, false, start);
        assert!(!due(&target, 0) && due(&target, 1));
        note(&mut target, true, start);
        assert!(!due(&target, 4) && due(&target, 5));
        note(&mut target, false, start);
        assert!(due(&target, 1));
        note(&mut target, false, start);
        note(&mut target, false, start);
        assert_eq!(target.health, RedirectHealth::Down);
        assert!(!due(&target, 4) && due(&target, 5));
    }

    #[test]
    fn how_often_and_how_many_misses_are_settings() {
        let start = Moment::now();
        let probes = RedirectProbes {
            interval: Duration::from_secs(60),
            ..RedirectProbes::default()
        };
        let mut target = Target::default();
        assert_eq!(target.note(1, true, start), Some(RedirectHealth::Unknown));
        assert!(!target.is_due(&probes, at(start, 59).mono));
        assert!(target.is_due(&probes, at(start, 60).mono));
        assert_eq!(target.note(1, false, start), Some(RedirectHealth::Up));
        assert_eq!(target.health, RedirectHealth::Down);
    }

    #[tokio::test]
    async fn only_the_answer_to_the_question_counts() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = server.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; DATAGRAM];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            let request = Message::parse(&buffer[..length]).unwrap();
            let other = MessageBuilder::request(Method::Binding, TransactionId([1; 12])).finish();
            for noise in [&b"noise"[..], &other, &buffer[..length]] {
                server.send_to(noise, from).await.unwrap();
            }
            let error = MessageBuilder::answer(turn_proto::stun::Class::Error, &request).finish();
            server.send_to(&error, from).await.unwrap();
        };
        let (answered, ()) = tokio::join!(answers(target, WAIT), serve);
        assert!(answered);
        assert!(!answers(target, WAIT).await, "it is silent now");
        drop(server);
        assert!(!answers(target, WAIT).await, "it is closed now");
    }
}
