//! Hash slots of Redis Cluster: which one a key is in, and which key a command is about.

use redis::{Arg, Cmd};

/// How many slots there are.
pub(super) const SLOTS: u16 = 16384;

/// The slot of a key: CRC-16/XMODEM over its hash tag, the bytes between the first `{` and the next
/// `}` if there are any, or over all of it.
pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
}

fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(end) => &rest[..end],
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

/// The first key of a command that the store sends; `None`: it is about none. All others of the
/// same command lie in the slot of the first.
pub(super) fn key_of(command: &Cmd) -> Option<&[u8]> {
    let argument = |at: usize| match command.args_iter().nth(at) {
        Some(Arg::Simple(bytes)) => Some(bytes),
        _ => None,
    };
    match argument(0)? {
        b"PING" | b"TIME" | b"PUBLISH" | b"SCAN" | b"INFO" | b"CLUSTER" | b"ASKING" => None,
        // Script, number of keys, keys.
        b"EVAL" if argument(2)? == b"0" => None,
        b"EVAL" => argument(3),
        _ => argument(1),
    }
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` answers.
        for (key, expected) in [
            ("123456789", 12739),
            ("foo", 12182),
            ("foo{hash_tag}", 2515),
            ("bar{hash_tag}", 2515),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("relay:nodes", 13811),
            ("relay:{relay:bans}:records", 8344),
            ("relay:bans", 8344),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn the_key_of_a_command_is_found() {
        assert_eq!(key_of(cmd("GET").arg("a")), Some(&b"a"[..]));
        assert_eq!(
            key_of(cmd("EVAL").arg("return 1").arg(1).arg("k")),
            Some(&b"k"[..])
        );
        assert_eq!(key_of(cmd("EVAL").arg("return 1").arg(0).arg("k")), None);
        assert_eq!(key_of(cmd("PUBLISH").arg("channel").arg("text")), None);
        assert_eq!(key_of(&cmd("TIME")), None);
    }
}
