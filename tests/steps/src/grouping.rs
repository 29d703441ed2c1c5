//! Which datagrams of a batch leave in one message.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use turn_udp::datagram::Marks;
use turn_udp::grouping::{Device, Grouping, Outlet};

use crate::{Repeat, Step};

/// Datagrams of one batch: what one turn of a worker takes from a listener.
const BATCH: u16 = 128;
/// Bytes of one: a frame of voice.
const LENGTH: usize = 160;

/// Batches of few, of many and of different flows.
pub const STEPS: &[Step] = &[
    step("group a batch of 1 flow", || prepare(1)),
    step("group a batch of 50 flows", || prepare(50)),
    step("group a batch of 128 flows", || prepare(128)),
];

const fn step(name: &'static str, prepare: fn() -> Box<dyn Repeat>) -> Step {
    Step {
        name,
        datagrams: BATCH as u64,
        // More than the batches for which a grouping without runs rests.
        counted: 160,
        prepare,
    }
}

fn prepare(flows: u16) -> Box<dyn Repeat> {
    let mut grouping = Grouping::new(usize::from(BATCH));
    Box::new(move || {
        for datagram in 0..BATCH {
            let flow = datagram % flows;
            // Each relay socket sends to a peer of its own.
            let outlet = Outlet {
                socket: i32::from(flow),
                device: Device(0),
            };
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 7_000 + flow));
            grouping.add(outlet, black_box(to), Marks::default(), LENGTH, false);
        }
        let runs = grouping.arrange();
        grouping.clear();
        assert!(black_box(runs) >= usize::from(flows));
    })
}
