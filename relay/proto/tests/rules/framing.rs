//! Framing of streams: RFC 8489 §6.2.2 and RFC 8656 §12.5 over TCP and TLS.

use proptest::prelude::*;
use turn_proto::framing::{Front, Garbage, MAX_FRAME, Partial, front};

/// A STUN message with `words` times four bytes of body.
fn stun(words: u16, fill: u8) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    bytes.extend((words * 4).to_be_bytes());
    bytes.extend(0x2112_a442_u32.to_be_bytes());
    bytes.extend([fill; 12]);
    bytes.resize(20 + usize::from(words) * 4, fill);
    bytes
}

/// A ChannelData message without padding.
fn channel_data(number: u16, len: u16, fill: u8) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend(len.to_be_bytes());
    bytes.resize(4 + usize::from(len), fill);
    bytes
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Reads a stream that arrives in these pieces, as a worker does.
fn read(pieces: &[&[u8]], limit: usize) -> Result<(Vec<Vec<u8>>, bool), Garbage> {
    let (mut partial, mut buffer) = (Partial::default(), vec![0; 2 * MAX_FRAME]);
    let mut messages = Vec::new();
    for piece in pieces {
        let kept = partial.take(&mut buffer);
        let end = kept + piece.len();
        buffer[kept..end].copy_from_slice(piece);
        let mut rest = &buffer[..end];
        while let Front::Frame { message, consumed } = front(rest, limit)? {
            messages.push(message.to_vec());
            rest = &rest[consumed..];
        }
        partial.keep(rest);
    }
    Ok((messages, partial.is_empty()))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..40_u16, any::<u8>()).prop_map(|(words, fill)| stun(words, fill)),
        (0x4000..=0x7fff_u16, 0..70_u16, any::<u8>())
            .prop_map(|(number, len, fill)| channel_data(number, len, fill)),
    ]
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_messages(
        messages in prop::collection::vec(message(), 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let stream: Vec<u8> = messages.iter().cloned().flat_map(padded).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        prop_assert_eq!(read(&pieces, MAX_FRAME), Ok((messages, true)));
    }

    #[test]
    fn no_bytes_make_it_panic_or_read_beyond_them(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        limit in 0..MAX_FRAME,
    ) {
        if let Ok(Front::Frame { message, consumed }) = front(&bytes, limit) {
            prop_assert!(message.len() <= consumed && consumed <= bytes.len().min(limit));
        }
    }
}

#[test]
fn channel_data_is_padded_to_four_and_stun_is_not() {
    for len in 0..9 {
        let mut stream = padded(channel_data(0x4001, len, 7));
        stream.extend(stun(0, 1));
        let expected = vec![channel_data(0x4001, len, 7), stun(0, 1)];
        assert_eq!(read(&[&stream], MAX_FRAME), Ok((expected, true)), "{len}");
    }
    let unpadded = channel_data(0x4001, 5, 7);
    assert_eq!(read(&[&unpadded], MAX_FRAME), Ok((vec![], false)));
}

#[test]
fn the_longest_frames_fit_into_64_kib_and_do_not_wrap() {
    for longest in [channel_data(0x4000, u16::MAX, 1), stun(16_383, 1)] {
        let stream = padded(longest.clone());
        assert!(stream.len() <= MAX_FRAME);
        assert_eq!(read(&[&stream], MAX_FRAME), Ok((vec![longest], true)));
    }
}

#[test]
fn what_is_no_frame_is_found_as_soon_as_it_can_be() {
    let mut wrong_cookie = stun(0, 0);
    wrong_cookie[7] ^= 1;
    let mut odd_length = stun(1, 0);
    odd_length[3] = 3;
    let cases: [&[u8]; 7] = [
        b"GET / HTTP/1.1",
        &[0x16, 0x03, 0x01],
        &[20],
        &[128],
        &[255],
        &wrong_cookie[..8],
        &odd_length[..4],
    ];
    for bytes in cases {
        // 'G' is 71, a channel's first byte: its length tells.
        let limit = 8192;
        let result = front(bytes, limit);
        assert_eq!(result, Err(Garbage), "{bytes:?}");
    }
    assert_eq!(front(&stun(1, 0)[..4], MAX_FRAME), Ok(Front::Incomplete));
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header() {
    let long = padded(channel_data(0x4000, 8192, 1));
    assert_eq!(front(&long[..4], 8192), Err(Garbage));
    assert_eq!(front(&long[..4], 8196), Ok(Front::Incomplete));
    assert!(matches!(front(&long, 8196), Ok(Front::Frame { .. })));
}
