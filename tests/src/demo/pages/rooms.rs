//! Rooms of two, whose ends are told of each other and pass each other what they say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// The longest message, in bytes: an offer with all its candidates has some thousands.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;
/// The most rooms at a time.
const MAX_ROOMS: usize = 64;
/// The longest name of a room, in bytes.
const MAX_NAME: usize = 64;
/// Messages that may wait for an end that reads slowly; it is hung up on when there are more.
const WAITING: usize = 256;

/// Pings without an answer after which an end is gone.
const SILENCES: u32 = 2;

/// All rooms. A clone is the same rooms.
#[derive(Clone, Debug, Default)]
pub(super) struct Rooms(Arc<Mutex<HashMap<String, Vec<End>>>>);

/// One who is in a room.
#[derive(Debug)]
struct End {
    number: u64,
    to: mpsc::Sender<Utf8Bytes>,
}

/// A place in a room; dropping it leaves the room, and tells the other end.
#[derive(Debug)]
struct Seat<'a> {
    rooms: &'a Rooms,
    room: String,
    number: u64,
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<End>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in `room`. Who was there before is told, and calls.
    fn enter(&self, room: String, to: mpsc::Sender<Utf8Bytes>) -> Result<Seat<'_>, &'static str> {
        if room.is_empty() || room.len() > MAX_NAME {
            return Err("the name of a room has 1 to 64 bytes");
        }
        let mut rooms = self.lock();
        if rooms.len() >= MAX_ROOMS && !rooms.contains_key(&room) {
            return Err("too many rooms are open: close one");
        }
        let ends = rooms.entry(room.clone()).or_default();
        if ends.len() > 1 {
            return Err("two are in this room already: take another name");
        }
        let number = ends.first().map_or(0, |first| first.number + 1);
        for first in &*ends {
            let _ = first.to.try_send(event("joined"));
        }
        ends.push(End { number, to });
        drop(rooms);
        Ok(Seat {
            rooms: self,
            room,
            number,
        })
    }
}

impl Seat<'_> {
    /// Passes a message to the other end; `false`: it cannot keep up.
    fn say(&self, text: Utf8Bytes) -> bool {
        let rooms = self.rooms.lock();
        let ends = rooms.get(&self.room).into_iter().flatten();
        let other = ends.into_iter().find(|end| end.number != self.number);
        other.is_none_or(|end| {
            !matches!(
                end.to.try_send(text),
                Err(mpsc::error::TrySendError::Full(_))
            )
        })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        let Some(ends) = rooms.get_mut(&self.room) else {
            return;
        };
        ends.retain(|end| end.number != self.number);
        for other in &*ends {
            let _ = other.to.try_send(event("left"));
        }
        if ends.is_empty() {
            rooms.remove(&self.room);
        }
    }
}

fn event(name: &str) -> Utf8Bytes {
    json!({ "event": name }).to_string().into()
}

/// Serves one end until it leaves, or says nothing after two pings; there is one every `beat`.
pub(super) async fn converse(rooms: &Rooms, room: String, mut socket: WebSocket, beat: Duration) {
    let (to, mut from_other) = mpsc::channel(WAITING);
    let seat = match rooms.enter(room, to) {
        Ok(seat) => seat,
        Err(why) => {
            let refused = json!({ "event": "refused", "reason": why }).to_string();
            send(&mut socket, Message::Text(refused.into()), beat).await;
            return;
        }
    };
    let mut beats = interval_at(Instant::now() + beat, beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;
    loop {
        tokio::select! {
            told = from_other.recv() => {
                let Some(text) = told else { return };
                if !send(&mut socket, Message::Text(text), beat).await {
                    return;
                }
            }
            said = socket.recv() => {
                unanswered = 0;
                match said {
                    Some(Ok(Message::Text(text))) => {
                        if !seat.say(text) {
                            return;
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                }
            }
            _ = beats.tick() => {
                let ping = Message::Ping(Vec::new().into());
                if unanswered >= SILENCES || !send(&mut socket, ping, beat).await {
                    return;
                }
                unanswered += 1;
            }
        }
    }
}

/// Sends to one that takes it in time; `false`: it does not.
async fn send(socket: &mut WebSocket, message: Message, time: Duration) -> bool {
    matches!(timeout(time, socket.send(message)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

    use super::*;

    fn end() -> (mpsc::Sender<Utf8Bytes>, mpsc::Receiver<Utf8Bytes>) {
        mpsc::channel(WAITING)
    }

    #[test]
    fn two_hear_each_other_and_a_third_is_refused() {
        let rooms = Rooms::default();
        let [(a, mut at_a), (b, mut at_b), (c, _)] = [end(), end(), end()];
        let first = rooms.enter("r".to_owned(), a).unwrap();
        let second = rooms.enter("r".to_owned(), b).unwrap();
        assert_eq!(at_a.try_recv().unwrap(), event("joined"));
        assert!(rooms.enter("r".to_owned(), c).is_err());
        assert!(first.say("from a".into()) && second.say("from b".into()));
        assert_eq!(at_b.try_recv().unwrap().as_str(), "from a");
        assert_eq!(at_a.try_recv().unwrap().as_str(), "from b");
        drop(first);
        assert_eq!(at_b.try_recv().unwrap(), event("left"));
        // The one that stays is called by the next who comes... or calls them: it was there before.
        let (d, mut at_d) = end();
        let third = rooms.enter("r".to_owned(), d).unwrap();
        assert_eq!(at_b.try_recv().unwrap(), event("joined"));
        assert!(second.say("again".into()));
        assert_eq!(at_d.try_recv().unwrap().as_str(), "again");
        drop((second, third));
        assert!(rooms.lock().is_empty());
    }

    #[test]
    fn names_and_rooms_are_bounded_and_who_does_not_read_is_noticed() {
        let rooms = Rooms::default();
        let (a, _at_a) = end();
        assert!(rooms.enter(String::new(), a.clone()).is_err());
        assert!(rooms.enter("x".repeat(65), a.clone()).is_err());
        let seats: Vec<_> = (0..MAX_ROOMS)
            .map(|n| rooms.enter(n.to_string(), a.clone()).unwrap())
            .collect();
        assert!(rooms.enter("one more".to_owned(), a).is_err());
        let (b, _at_b) = end();
        let _slow = rooms.enter("0".to_owned(), b).unwrap();
        assert!((0..WAITING).all(|_| seats[0].say("hello".into())));
        assert!(!seats[0].say("hello".into()));
    }
}
