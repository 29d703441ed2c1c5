//! The pool on real loopback sockets.

use proptest::prelude::*;

use super::*;

const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
const RESERVING: Reserving = Reserving {
    lifetime: RESERVATION_LIFETIME,
    most: 1000,
};

fn pool(ports: RangeInclusive<u16>) -> PortPool {
    let local = "127.0.0.1".parse().unwrap();
    let external = "192.0.2.1".parse().unwrap();
    PortPool::new(vec![RelayAddress { local, external }], &ports, RESERVING)
}

fn request(port: PortRequest) -> RelayRequest {
    let server = "127.0.0.1:3478".parse().unwrap();
    RelayRequest {
        server,
        transport: shared::RelayTransport::Udp,
        family: AddressFamily::V4,
        port,
    }
}

/// A range of `count` ports from an even one that are free right now.
fn free_range(count: u16) -> RangeInclusive<u16> {
    for _ in 0..200 {
        let base = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            & !1;
        let free = |p| UdpSocket::bind(("127.0.0.1", p)).is_ok();
        if base < 60_000 && (base..base + count).all(free) {
            return base..=base + count - 1;
        }
    }
    panic!("no free range of {count} ports on loopback");
}

#[test]
fn every_port_is_handed_out_once_and_comes_back() {
    let pool = pool(free_range(4));
    let now = Instant::now();
    let open: Vec<_> = (0..4)
        .map(|_| pool.open(request(PortRequest::Any), now).unwrap())
        .collect();
    assert_eq!(pool.usage(), PortUsage { used: 4, total: 4 });
    let refused = pool.open(request(PortRequest::Any), now).unwrap_err();
    assert_eq!(refused, OpenError::PortsExhausted);
    let local = open[2].opened.local;
    assert_eq!(
        open[2].opened.external,
        SocketAddr::new([192, 0, 2, 1].into(), local.port())
    );
    drop(open);
    pool.close(local);
    assert_eq!(
        pool.open(request(PortRequest::Any), now)
            .unwrap()
            .opened
            .local,
        local
    );
}

#[test]
fn a_reserved_port_is_the_next_one_and_is_claimed_once() {
    let pool = pool(free_range(4));
    let now = Instant::now();
    let even = pool
        .open(request(PortRequest::EvenReserveNext), now)
        .unwrap();
    assert!(even.opened.local.port().is_multiple_of(2));
    let token = even.opened.reservation.unwrap();
    let next = pool
        .open(request(PortRequest::Reserved(token)), now)
        .unwrap();
    assert_eq!(next.opened.local.port(), even.opened.local.port() + 1);
    let again = pool
        .open(request(PortRequest::Reserved(token)), now)
        .unwrap_err();
    assert_eq!(again, OpenError::UnknownToken);
}

#[test]
fn an_unclaimed_reservation_gives_its_port_back() {
    let pool = pool(free_range(2));
    let now = Instant::now();
    let even = pool
        .open(request(PortRequest::EvenReserveNext), now)
        .unwrap();
    let token = even.opened.reservation.unwrap();
    assert_eq!(pool.usage().used, 2);
    let later = now + RESERVATION_LIFETIME;
    let refused = pool
        .open(request(PortRequest::Reserved(token)), later)
        .unwrap_err();
    assert_eq!(refused, OpenError::UnknownToken);
    assert_eq!(pool.usage().used, 1);
}

#[test]
fn a_plain_even_port_reserves_nothing() {
    let pool = pool(free_range(2));
    let even = pool
        .open(request(PortRequest::Even), Instant::now())
        .unwrap();
    assert_eq!(even.opened.reservation, None);
    assert_eq!(pool.usage().used, 1);
    let refused = pool
        .open(request(PortRequest::Even), Instant::now())
        .unwrap_err();
    assert_eq!(refused, OpenError::PortsExhausted);
}

#[test]
fn ports_that_others_hold_are_skipped() {
    let range = free_range(4);
    let held: Vec<_> = range
        .clone()
        .take(3)
        .map(|p| UdpSocket::bind(("127.0.0.1", p)).unwrap())
        .collect();
    let pool = pool(range.clone());
    let opened = pool.open(request(PortRequest::Any), Instant::now());
    assert_eq!(opened.unwrap().opened.local.port(), *range.end());
    assert_eq!(pool.usage().used, 1);
    drop(held);
}

#[test]
fn a_family_without_address_is_refused() {
    let pool = pool(free_range(2));
    let v6 = RelayRequest {
        family: AddressFamily::V6,
        ..request(PortRequest::Any)
    };
    assert_eq!(
        pool.open(v6, Instant::now()).unwrap_err(),
        OpenError::FamilyUnavailable
    );
}

#[test]
fn a_token_of_another_node_is_unknown() {
    let (here, there) = (pool(free_range(2)), pool(free_range(2)));
    let now = Instant::now();
    let even = request(PortRequest::EvenReserveNext);
    let token = there.open(even, now).unwrap().opened.reservation.unwrap();
    let refused = here.open(request(PortRequest::Reserved(token)), now);
    assert_eq!(refused.unwrap_err(), OpenError::UnknownToken);
}

#[test]
fn a_reservation_outlives_the_session_that_made_it() {
    let pool = pool(free_range(2));
    let now = Instant::now();
    let even = pool
        .open(request(PortRequest::EvenReserveNext), now)
        .unwrap();
    let token = even.opened.reservation.unwrap();
    let local = even.opened.local;
    drop(even);
    pool.close(local);
    let almost = now + RESERVATION_LIFETIME - Duration::from_millis(1);
    let next = pool
        .open(request(PortRequest::Reserved(token)), almost)
        .unwrap();
    assert_eq!(next.opened.local.port(), local.port() + 1);
}

#[test]
fn ports_are_drawn_at_random() {
    // RFC 6056: whoever knows the last port must not know the next one.
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    let address = RelayAddress {
        local,
        external: local,
    };
    let pool = PortPool::new(vec![address], &(49_152..=65_535), RESERVING);
    let now = Instant::now();
    let open = |_| pool.open(request(PortRequest::Any), now).unwrap();
    let sockets: Vec<_> = (0..32).map(open).collect();
    let ports: Vec<i32> = sockets
        .iter()
        .map(|socket| socket.opened.local.port().into())
        .collect();
    let mut steps: Vec<i32> = ports.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    steps.dedup();
    assert!(steps.len() > 24, "steps repeat: {ports:?}");
    assert!(ports.iter().all(|port| (49_152..=65_535).contains(port)));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open(PortRequest),
    /// One of the tokens so far, used up ones included.
    Claim(usize),
    Close(usize),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Open(PortRequest::Any)),
        1 => Just(Step::Open(PortRequest::Even)),
        4 => Just(Step::Open(PortRequest::EvenReserveNext)),
        3 => (0..8_usize).prop_map(Step::Claim),
        3 => (0..8_usize).prop_map(Step::Close),
        2 => (0..40_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_reservation_leaks_a_port(steps in prop::collection::vec(any_step(), 1..60)) {
        const PORTS: u16 = 8;
        let pool = pool(free_range(PORTS));
        let mut now = Instant::now();
        let mut open: Vec<OpenedSocket> = Vec::new();
        // Every token, when it ends, and whether it was claimed.
        let mut tokens: Vec<(ReservationToken, Instant, bool)> = Vec::new();
        for step in steps {
            match step {
                Step::Open(port) => {
                    if let Ok(socket) = pool.open(request(port), now) {
                        let token = socket.opened.reservation;
                        tokens.extend(token.map(|t| (t, now + RESERVATION_LIFETIME, false)));
                        open.push(socket);
                    }
                }
                Step::Claim(which) => {
                    if let Some((token, end, claimed)) = tokens.get_mut(which) {
                        let got = pool.open(request(PortRequest::Reserved(*token)), now);
                        prop_assert_eq!(got.is_ok(), now < *end && !*claimed);
                        *claimed |= got.is_ok();
                        open.extend(got);
                    }
                }
                Step::Close(which) if which < open.len() => {
                    let local = open.swap_remove(which).opened.local;
                    pool.close(local);
                }
                Step::Close(_) => {}
                Step::Wait(secs) => {
                    now += Duration::from_secs(secs);
                    pool.sweep(now);
                }
            }
            let kept = tokens.iter().filter(|(_, end, claimed)| now < *end && !claimed);
            prop_assert_eq!(pool.usage().used, (open.len() + kept.count()) as u64);
        }
        for socket in open {
            let local = socket.opened.local;
            drop(socket);
            pool.close(local);
        }
        pool.sweep(now + RESERVATION_LIFETIME);
        prop_assert_eq!(pool.usage().used, 0);
        for _ in 0..PORTS {
            prop_assert!(pool.open(request(PortRequest::Any), now).is_ok());
        }
    }
}

#[test]
fn no_more_ports_are_reserved_than_allowed_and_plain_ones_stay_free() {
    let local = "127.0.0.1".parse().unwrap();
    let address = RelayAddress {
        local,
        external: local,
    };
    let reserving = Reserving {
        most: 1,
        ..RESERVING
    };
    let pool = PortPool::new(vec![address], &free_range(8), reserving);
    let now = Instant::now();
    let reserve = || pool.open(request(PortRequest::EvenReserveNext), now);
    let _first = reserve().unwrap();
    assert_eq!(reserve().unwrap_err(), OpenError::PortsExhausted);
    let _plain = pool.open(request(PortRequest::Even), now).unwrap();
    // The time of the first is over.
    let later = now + RESERVATION_LIFETIME;
    pool.sweep(later);
    let next = pool.open(request(PortRequest::EvenReserveNext), later);
    assert!(next.is_ok());
}
