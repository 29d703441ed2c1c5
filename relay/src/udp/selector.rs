//! Which worker serves which client.
//!
//! All workers bind the same listener address with SO_REUSEPORT. Left alone, the kernel spreads
//! clients with a hash that is salted per boot and moves clients of other sockets when one closes.
//! The classic BPF program built here makes the worker a plain function of the client's address and
//! port instead, and [`worker_of`] computes the same function, so that a restore can put a session
//! where its packets will arrive.

use std::net::{IpAddr, SocketAddr};

use shared::WorkerId;

use turn_udp::sys::Filter;

/// Odd constant of the mixing step (the finaliser of MurmurHash3 uses it too).
const MULTIPLIER: u32 = 0x85eb_ca6b;
/// How far the product is folded back.
const SHIFT: u32 = 15;

/// The worker that serves `client` on a listener shared by `workers` threads.
#[must_use]
pub fn worker_of(client: SocketAddr, workers: u16) -> WorkerId {
    let mut hash = u32::from(client.port());
    match client.ip() {
        IpAddr::V4(ip) => hash = mix(hash, u32::from(ip)),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            for word in [
                (bits >> 96) as u32,
                (bits >> 64) as u32,
                (bits >> 32) as u32,
                bits as u32,
            ] {
                hash = mix(hash, word);
            }
        }
    }
    WorkerId((hash % u32::from(workers.max(1))) as u16)
}

fn mix(hash: u32, word: u32) -> u32 {
    let product = (hash ^ word).wrapping_mul(MULTIPLIER);
    product ^ product >> SHIFT
}

/// The program that computes [`worker_of`] in the kernel, for a listener of one address family.
#[must_use]
pub fn program(ipv4: bool, workers: u16) -> Vec<Filter> {
    use turn_udp::sys::opcode::{
        ALU_MOD_K, ALU_MUL_K, ALU_RSH_K, ALU_XOR_X, LD_H_ABS, LD_H_IND, LD_W_ABS, LDX_MSH, NET,
        RET_A, TAX,
    };
    let mut program = Vec::new();
    let mut push = |code: u16, k: u32| program.push(Filter::new(code, k));
    let words: &[u32] = if ipv4 {
        // The source port lies behind a header of variable length.
        push(LDX_MSH, NET);
        push(LD_H_IND, NET);
        &[12]
    } else {
        push(LD_H_ABS, NET + 40);
        &[8, 12, 16, 20]
    };
    for offset in words {
        push(TAX, 0);
        push(LD_W_ABS, NET + offset);
        push(ALU_XOR_X, 0);
        push(ALU_MUL_K, MULTIPLIER);
        push(TAX, 0);
        push(ALU_RSH_K, SHIFT);
        push(ALU_XOR_X, 0);
    }
    push(ALU_MOD_K, u32::from(workers.max(1)));
    push(RET_A, 0);
    program
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::udp::socket::bind_listener_group;

    /// Sends one datagram from each client address and tells which socket of the group got it.
    fn kernel_choice(listen: &str, clients: impl Iterator<Item = IpAddr>, workers: u16) {
        let group = bind_listener_group(listen.parse().unwrap(), workers).unwrap();
        let server = group[0].local_addr().unwrap();
        for socket in &group {
            socket.set_nonblocking(false).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
        }
        for ip in clients {
            let client = UdpSocket::bind((ip, 0)).unwrap();
            let address = client.local_addr().unwrap();
            client.send_to(b"x", server).unwrap();
            let expected = worker_of(address, workers);
            // Blocks until the datagram is there; arriving elsewhere ends in the read timeout.
            let (_, from) = group[usize::from(expected.0)]
                .recv_from(&mut [0; 8])
                .unwrap_or_else(|e| panic!("{address} did not reach {expected:?}: {e}"));
            assert_eq!(from, address);
        }
    }

    #[test]
    fn the_kernel_chooses_the_computed_worker_for_300_ipv4_clients() {
        let clients = (0..300_u32).map(|i| IpAddr::from([127, 16, (i >> 4) as u8, i as u8]));
        kernel_choice("127.0.0.1:0", clients, 5);
    }

    #[test]
    fn the_kernel_chooses_the_computed_worker_for_300_ipv6_clients() {
        let clients = (0..300).map(|_| "::1".parse().unwrap());
        kernel_choice("[::1]:0", clients, 3);
    }

    #[test]
    fn clients_spread_evenly() {
        let mut counts = [0_u32; 8];
        for i in 0..8000_u32 {
            let client =
                SocketAddr::from(([10, 1, (i >> 8) as u8, i as u8], 40_000 + (i % 7) as u16));
            counts[usize::from(worker_of(client, 8).0)] += 1;
        }
        assert!(
            counts.iter().all(|&n| (800..1200).contains(&n)),
            "{counts:?}"
        );
    }
}
