//! One packet per call: what a plain server does.

use std::collections::VecDeque;
use std::io;

use mio::{Events, Poll};

use super::flows::Flow;
use super::{EVENTS, House, LISTENER};

/// Room for the longest datagram, and a header in front.
const BUFFER: usize = 4 + 65_535;
/// Packets of one socket before the next one's.
const BUDGET: usize = 64;

/// Forwards until polling fails.
pub(super) fn run(mut poll: Poll, mut house: House) -> io::Result<()> {
    let mut events = Events::with_capacity(EVENTS);
    let mut buffer = vec![0; BUFFER].into_boxed_slice();
    let mut left = VecDeque::new();
    loop {
        let timeout = (!left.is_empty()).then_some(std::time::Duration::ZERO);
        match poll.poll(&mut events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        // Whoever was not drained comes after those that the poll names, and only once.
        for _ in 0..left.len() {
            let Some(token) = left.pop_front() else { break };
            if !house.read(token, &mut buffer) {
                left.push_back(token);
            }
        }
        for event in &events {
            let token = event.token();
            if !left.contains(&token) && !house.read(token, &mut buffer) {
                left.push_back(token);
            }
        }
    }
}

impl House {
    /// Forwards what a socket has; `false` when it has more.
    fn read(&mut self, token: mio::Token, buffer: &mut [u8]) -> bool {
        for _ in 0..BUDGET {
            let more = match token {
                LISTENER => self.pass_up(buffer),
                flow => self.pass_down(flow.0, buffer),
            };
            if !more {
                return true;
            }
        }
        false
    }

    /// Forwards a packet of a client; `false` when there is none.
    fn pass_up(&mut self, buffer: &mut [u8]) -> bool {
        let (len, from) = match self.listener.socket.recv_from(buffer) {
            Ok(received) => received,
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        };
        if buffer[0] & 0xc0 == 0x40 {
            if let Some(flow) = self.flows.of_client(from)
                && let Some(payload) = flow.payload(&buffer[..len])
            {
                // What does not fit into the peer's buffer is lost, as on any network.
                let _ = flow.socket.send_to(payload, flow.peer);
            }
        } else if let Some(answer) = self.answer(from, &buffer[..len]) {
            let _ = self.listener.socket.send_to(&answer, from);
        }
        true
    }

    /// Forwards a packet of a peer; `false` when there is none.
    fn pass_down(&mut self, index: usize, buffer: &mut [u8]) -> bool {
        let Some(flow) = self.flows.get(index) else {
            return false;
        };
        match flow.socket.recv_from(&mut buffer[4..]) {
            Ok((len, _)) => {
                buffer[..4].copy_from_slice(&flow.header(len));
                let _ = self
                    .listener
                    .socket
                    .send_to(&buffer[..4 + len], flow.client);
                true
            }
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

impl Flow {
    /// What is behind the four bytes of ChannelData on the flow's channel.
    #[inline]
    pub(super) fn payload<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let (header, rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let ours = header[..2] == self.channel;
        rest.get(..len).filter(|_| ours)
    }

    /// The four bytes in front of what goes to the client.
    #[inline]
    pub(super) fn header(&self, len: usize) -> [u8; 4] {
        let [high, low] = (len as u16).to_be_bytes();
        [self.channel[0], self.channel[1], high, low]
    }
}
