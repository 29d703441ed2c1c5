//! Listens to the Redis that coturn tells of its sessions. What is missed meanwhile the next list heals.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use redis::Client;
use shared::Secret;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::records::{Usage, seconds, usage};
use crate::store::coturn_stats::{PATTERNS, StatsChannel, StatsKind};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// Silence after which the connection is made anew: it may be dead, and nothing else would show it.
const SILENCE: Duration = Duration::from_secs(60);
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(2);

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// coturn's number of the session.
    pub id: u64,
    /// Its realm.
    pub realm: String,
    /// Its USERNAME.
    pub username: String,
    /// What is said of it.
    pub what: What,
}

/// What is said of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It began.
    New,
    /// It goes on for so many seconds.
    Refreshed(u64),
    /// It is over.
    Deleted,
    /// More traffic.
    Traffic(Usage),
    /// All its traffic.
    Total(Usage),
}

/// News of the subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StatsNews {
    /// It works from now on.
    Up,
    /// It does not, and why.
    Down(String),
    /// A message.
    Said(Said),
}

/// Listens until nobody takes the news any more. A fault of ours is told as an absence, and it begins again.
pub(super) async fn keep_listening(url: Secret<String>, news: mpsc::Sender<StatsNews>) {
    keep(&news, RETRY, || listen(url.clone(), news.clone())).await;
}

/// Has something run that is to end when nobody takes the news any more, and not before.
async fn keep<F: Future<Output = ()>>(
    news: &mpsc::Sender<StatsNews>,
    pause: Duration,
    mut make: impl FnMut() -> F,
) {
    loop {
        let ended = AssertUnwindSafe(make()).catch_unwind().await;
        if ended.is_ok() && news.is_closed() {
            return;
        }
        let reason = "the part of relayd that listens to it failed, and starts again: the log of relayd says \
                      where; please report it";
        if news.send(StatsNews::Down(reason.to_owned())).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn listen(url: Secret<String>, news: mpsc::Sender<StatsNews>) {
    loop {
        let Some(reason) = subscribe(&url, &news).await else {
            if news.is_closed() {
                return;
            }
            continue;
        };
        let down = StatsNews::Down(reason);
        if news.send(down).await.is_err() {
            return;
        }
        tokio::select! {
            () = news.closed() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Follows one connection to its end; why that came, unless nothing is wrong.
async fn subscribe(url: &Secret<String>, news: &mpsc::Sender<StatsNews>) -> Option<String> {
    // Errors name kind and address, not the URL, which may hold a password.
    let Ok(client) = Client::open(url.expose().as_str()) else {
        return Some("beside.statsdb is no redis:// URL".to_owned());
    };
    let mut pubsub = match timeout(CONNECT, client.get_async_pubsub()).await {
        Err(_) => return Some("it does not answer".to_owned()),
        Ok(Err(error)) => return Some(error.to_string()),
        Ok(Ok(pubsub)) => pubsub,
    };
    for pattern in PATTERNS {
        match timeout(CONNECT, pubsub.psubscribe(pattern)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Some(error.to_string()),
            Err(_) => return Some("it does not answer".to_owned()),
        }
    }
    if news.send(StatsNews::Up).await.is_err() {
        return None;
    }
    let mut messages = pubsub.on_message();
    loop {
        let message = tokio::select! {
            () = news.closed() => return None,
            message = timeout(SILENCE, messages.next()) => message,
        };
        let message = match message {
            Err(_) => return None,
            Ok(None) => return Some("the connection ended".to_owned()),
            Ok(Some(message)) => message,
        };
        let payload = message.get_payload_bytes();
        let said = read(
            message.get_channel_name(),
            &String::from_utf8_lossy(payload),
        );
        let Some(said) = said else { continue };
        if news.send(StatsNews::Said(said)).await.is_err() {
            return None;
        }
    }
}

/// Reads a message; `None`: it says nothing that is asked for.
pub(super) fn read(channel: &str, payload: &str) -> Option<Said> {
    let channel = StatsChannel::parse(channel)?;
    let traffic = || usage(payload, ["rcvp", "rcvb", "sentp", "sentb"]);
    let what = match channel.kind {
        StatsKind::Traffic => What::Traffic(traffic()?),
        StatsKind::TotalTraffic => What::Total(traffic()?),
        StatsKind::Status if payload.starts_with("deleted") => What::Deleted,
        StatsKind::Status if payload.starts_with("new ") => What::New,
        StatsKind::Status => {
            let rest = payload.strip_prefix("refreshed lifetime=")?;
            What::Refreshed(seconds(rest.split(',').next()?.trim())?)
        }
    };
    Some(Said {
        id: channel.id,
        realm: channel.realm.to_owned(),
        username: channel.username.to_owned(),
        what,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::coturn_stats::SAMPLE as STATUS;

    fn what(channel: &str, payload: &str) -> Option<What> {
        read(channel, payload).map(|said| said.what)
    }

    #[test]
    fn messages_of_old_and_new_releases_are_read() {
        assert_eq!(what(STATUS, "new lifetime=600"), Some(What::New));
        let tail = "type=UDP, local=127.0.0.1:3478, remote=127.0.0.1:5, ssl=NONE, cipher=NONE";
        let new = format!("new lifetime=600, {tail}");
        assert_eq!(what(STATUS, &new), Some(What::New));
        let refreshed = format!("refreshed lifetime=0, {tail}");
        assert_eq!(what(STATUS, &refreshed), Some(What::Refreshed(0)));
        assert_eq!(what(STATUS, "deleted"), Some(What::Deleted));
        let traffic = STATUS.replace("status", "traffic");
        let counted = Usage {
            in_packets: 1,
            in_bytes: 2,
            out_packets: 3,
            out_bytes: 4,
        };
        let payload = "rcvp=1, rcvb=2, sentp=3, sentb=4";
        assert_eq!(what(&traffic, payload), Some(What::Traffic(counted)));
        let total = STATUS.replace("status", "total_traffic");
        assert_eq!(what(&total, payload), Some(What::Total(counted)));
        assert_eq!(what(&traffic, "rcvp=1"), None);
    }

    #[tokio::test]
    async fn a_listener_that_fails_is_told_of_and_begins_again() {
        let (news, mut heard) = mpsc::channel(4);
        let mut attempts = 0;
        let keeping = keep(&news, Duration::ZERO, || {
            attempts += 1;
            let (attempt, news) = (attempts, news.clone());
            async move {
                match attempt {
                    1 => panic!("as the test wants it"),
                    // It ends, although it is listened to.
                    2 => {}
                    _ => {
                        news.send(StatsNews::Up).await.unwrap();
                        news.closed().await;
                    }
                }
            }
        });
        let hearing = async move {
            for attempt in 1..=2 {
                let down = heard.recv().await;
                let is_told =
                    matches!(&down, Some(StatsNews::Down(why)) if why.contains("please report it"));
                assert!(is_told, "{attempt}: {down:?}");
            }
            assert_eq!(heard.recv().await, Some(StatsNews::Up));
        };
        tokio::join!(keeping, hearing);
        assert_eq!(attempts, 3);
    }

    proptest! {
        #[test]
        fn garbage_breaks_nothing(channel: String, payload: String) {
            let _ = read(&channel, &payload);
            let _ = read(STATUS, &payload);
        }
    }
}
