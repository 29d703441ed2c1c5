//! Words that the servers of a cluster keep, to tell when one of them was emptied while the others
//! were not: as a whole they say of a cluster what the document `mark` says of one server.
//!
//! They lie evenly over all slots, whoever has these now: a server with [`STRIDE`] slots in a row has
//! one at least.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use redis::{Value, pipe};

use super::slots::{SLOTS, slot};
use super::{Inner, schema};
use crate::store::StoreError;

/// How far apart they are.
const STRIDE: u16 = 256;

/// A key for each stretch of [`STRIDE`] slots.
static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let stretches = usize::from(SLOTS / STRIDE);
    let mut keys = vec![None; stretches];
    let mut missing = stretches;
    for number in 0_u32.. {
        if missing == 0 {
            break;
        }
        let key = schema::mark(number);
        let place = &mut keys[usize::from(slot(key.as_bytes()) / STRIDE)];
        if place.is_none() {
            *place = Some(key);
            missing -= 1;
        }
    }
    keys.into_iter().flatten().collect()
});

/// All of them as one; `None`: one is missing. With `write` those that are missing are written.
pub(super) async fn read(inner: &Inner, write: bool) -> Result<Option<String>, StoreError> {
    if !inner.link.is_cluster() {
        return Ok(Some(String::new()));
    }
    if write {
        let mut writes = pipe();
        for key in KEYS.iter() {
            let word = format!("{:016x}", rand::random::<u64>());
            writes.cmd("SET").arg(key).arg(word).arg("NX");
        }
        inner.link.pipe::<Value>(&writes).await?;
    }
    let mut reads = pipe();
    for key in KEYS.iter() {
        reads.cmd("GET").arg(key);
    }
    let words: Vec<Option<String>> = inner.link.pipe(&reads).await?;
    let words: Option<Vec<String>> = words.into_iter().collect();
    Ok(words.map(|words| {
        // Compared with what this process read before, and with nothing else.
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stretch_of_slots_has_one() {
        let stretches: Vec<u16> = KEYS
            .iter()
            .map(|key| slot(key.as_bytes()) / STRIDE)
            .collect();
        assert!(stretches.into_iter().eq(0..SLOTS / STRIDE));
    }
}
