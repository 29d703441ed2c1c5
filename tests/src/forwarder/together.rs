//! Many packets per call: what all sockets of a turn bring leaves together, as in `relayd`.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mio::{Events, Poll, Token};
use turn_udp::batch::{SendBatch, SendQueue};
use turn_udp::grouping::{Device, Outlet};
use turn_udp::receive::RecvBuffers;

use super::{EVENTS, House, LISTENER, Mode};

/// Messages read of the listener per turn, and of a flow.
const LISTENER_BUDGET: usize = 128;
const FLOW_BUDGET: usize = 32;

/// What names the device that all leaves by.
const LOOPBACK: Device = Device(0);

/// Forwards until polling fails.
pub(super) fn run(mut poll: Poll, mut house: House, mode: Mode) -> io::Result<()> {
    let mut events = Events::with_capacity(EVENTS);
    let mut receive = RecvBuffers::new();
    let mut send = match mode {
        Mode::Grouped => SendQueue::new(),
        Mode::Single | Mode::Batched => SendQueue::without_runs(),
    };
    let mut ready = Ready::default();
    loop {
        let timeout = (!ready.line.is_empty()).then_some(Duration::ZERO);
        match poll.poll(&mut events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        for event in &events {
            ready.add(event.token(), &mut house);
        }
        while !ready.line.is_empty() {
            let again = turn(&mut house, &mut ready, &receive, &mut send);
            receive.give_back();
            if again {
                break;
            }
        }
    }
}

/// Sockets that have something to read: the poll tells only once.
#[derive(Debug, Default)]
struct Ready {
    line: VecDeque<Token>,
    listener: bool,
}

impl Ready {
    fn add(&mut self, token: Token, house: &mut House) {
        if let Some(flag) = self.flag(token, house)
            && !std::mem::replace(flag, true)
        {
            self.line.push_back(token);
        }
    }

    fn flag<'a>(&'a mut self, token: Token, house: &'a mut House) -> Option<&'a mut bool> {
        match token {
            LISTENER => Some(&mut self.listener),
            flow => house.flows.get(flow.0).map(|flow| &mut flow.ready),
        }
    }
}

/// Reads sockets until all slots hold something, and sends what they brought. Whether some socket was
/// not drained, so that it is time to poll again.
fn turn(house: &mut House, ready: &mut Ready, receive: &RecvBuffers, send: &mut SendQueue) -> bool {
    let mut batch = send.batch();
    let mut again = false;
    while receive.has_room() {
        let Some(token) = ready.line.pop_front() else {
            break;
        };
        let drained = match token {
            LISTENER => house.read_listener(receive, &mut batch),
            flow => house.read_flow(flow.0, receive, &mut batch),
        };
        if !drained {
            again = true;
            ready.line.push_back(token);
        } else if let Some(flag) = ready.flag(token, house) {
            *flag = false;
        }
    }
    again
}

impl House {
    /// Forwards what clients sent; `false` when there may be more.
    fn read_listener<'p>(
        &mut self,
        receive: &'p RecvBuffers,
        batch: &mut SendBatch<'_, 'p>,
    ) -> bool {
        let received = match receive.receive(self.listener.fd, LISTENER_BUDGET) {
            Ok(received) => received,
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        for datagram in received.datagrams().flatten() {
            if datagram.bytes.first().is_some_and(|b| b & 0xc0 == 0x40) {
                if let Some(flow) = self.flows.of_client(datagram.from)
                    && let Some(payload) = flow.payload(datagram.bytes)
                {
                    batch.push(outlet(flow.fd), flow.peer, &[], payload, 0);
                }
            } else if let Some(answer) = self.answer(datagram.from, datagram.bytes) {
                batch.push_copy(outlet(self.listener.fd), datagram.from, &answer);
            }
        }
        received.is_drained
    }

    /// Forwards what peers sent to a flow; `false` when there may be more.
    fn read_flow<'p>(
        &mut self,
        index: usize,
        receive: &'p RecvBuffers,
        batch: &mut SendBatch<'_, 'p>,
    ) -> bool {
        let Some(flow) = self.flows.get(index) else {
            return true;
        };
        let received = match receive.receive(flow.fd, FLOW_BUDGET) {
            Ok(received) => received,
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        let outlet = outlet(self.listener.fd);
        for datagram in received.datagrams().flatten() {
            let header = flow.header(datagram.bytes.len());
            batch.push(outlet, flow.client, &header, datagram.bytes, 0);
        }
        received.is_drained
    }
}

fn outlet(socket: std::os::fd::RawFd) -> Outlet {
    Outlet {
        socket,
        device: LOOPBACK,
    }
}
