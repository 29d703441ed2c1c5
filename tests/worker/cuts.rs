//! TCP hands over bytes, not messages: cut wherever, many at once, padded, empty, long.

use std::net::UdpSocket;

use kit::stream::StreamClient;
use turn_proto::channel_data::{ChannelData, ChannelNumber};

use crate::by_hand::Hand;
use crate::peer;

const CHANNEL: u16 = 0x4001;
/// The longest payload that UDP over IPv4 takes on to a peer.
const LONGEST: usize = 65_507;
/// Turns within which what was written has been read, with much to spare.
const TURNS: usize = 20;

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + len) as u8).collect()
}

/// As streams carry it: padded to four bytes, with what must not be taken for data.
fn frame(payload: &[u8]) -> Vec<u8> {
    let number = ChannelNumber::new(CHANNEL).unwrap();
    let mut bytes = [&ChannelData::header(number, payload.len() as u16), payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0xee);
    bytes
}

fn frames(lengths: &[usize]) -> Vec<u8> {
    let frames = lengths.iter().map(|len| frame(&payload(*len)));
    frames.collect::<Vec<_>>().concat()
}

struct Line {
    hand: Hand,
    client: StreamClient,
    peer: UdpSocket,
    buffer: Vec<u8>,
}

impl Line {
    fn new() -> Self {
        let (mut hand, peer) = (Hand::new(), peer());
        let client = hand.stream(CHANNEL, peer.local_addr().unwrap());
        peer.set_nonblocking(true).unwrap();
        Self {
            hand,
            client,
            peer,
            buffer: vec![0; 65_536],
        }
    }

    /// Writes a piece and has it read before the next one is written.
    fn write(&mut self, piece: &[u8]) {
        if !piece.is_empty() {
            self.client.write(piece).unwrap();
            self.hand.turn();
        }
    }

    /// The next datagram at the peer; turns go on until it is there.
    fn next(&mut self) -> Vec<u8> {
        for _ in 0..TURNS {
            if let Ok(len) = self.peer.recv(&mut self.buffer) {
                return self.buffer[..len].to_vec();
            }
            self.hand.turn();
        }
        panic!("nothing came");
    }

    #[track_caller]
    fn expect(&mut self, lengths: &[usize]) {
        for &len in lengths {
            let came = self.next();
            assert!(came == payload(len), "{} instead of {len}", came.len());
        }
        assert!(self.peer.recv(&mut self.buffer).is_err(), "one too many");
    }
}

#[test]
fn frames_cut_in_two_or_three_at_every_byte_arrive_whole() {
    let mut line = Line::new();
    let lengths = [0, 1, 2, 3, 4, 5, 0, 0, 7];
    let bytes = frames(&lengths);
    for cut in 0..=bytes.len() {
        line.write(&bytes[..cut]);
        line.write(&bytes[cut..]);
        line.expect(&lengths);
        // The middle piece is three bytes long: less than a header, more than most paddings.
        let second = (cut + 3).min(bytes.len());
        line.write(&bytes[..cut]);
        line.write(&bytes[cut..second]);
        line.write(&bytes[second..]);
        line.expect(&lengths);
    }
}

#[test]
fn frames_that_come_byte_by_byte_arrive_whole() {
    let mut line = Line::new();
    let lengths = [3, 0, 160, 1];
    for byte in frames(&lengths) {
        line.write(&[byte]);
    }
    line.expect(&lengths);
}

#[test]
fn many_frames_in_one_segment_arrive_each_for_itself() {
    let mut line = Line::new();
    let lengths: Vec<usize> = (0..200).map(|i| i % 41).collect();
    let bytes = frames(&lengths);
    line.write(&bytes);
    line.expect(&lengths);
    // And once more, with the last one cut off in the padding.
    let lengths = [160, 160, 160, 5];
    let bytes = frames(&lengths);
    line.write(&bytes[..bytes.len() - 2]);
    line.write(&bytes[bytes.len() - 2..]);
    line.expect(&lengths);
}

#[test]
fn the_longest_frame_arrives_whole_wherever_it_is_cut() {
    let mut line = Line::new();
    let lengths = [1, LONGEST, 2];
    let bytes = frames(&lengths);
    for cut in [
        8,
        9,
        11,
        12,
        13,
        4_096,
        65_000,
        bytes.len() - 9,
        bytes.len() - 5,
    ] {
        line.write(&bytes[..cut]);
        line.write(&bytes[cut..]);
        line.expect(&lengths);
    }
}
