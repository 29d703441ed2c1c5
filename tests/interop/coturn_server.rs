//! The kit's client against coturn's server, so that client and server do not share a mistake.

use std::time::Duration;

use kit::client::{AllocateOptions, From, Login, TurnClient};
use kit::coturn::Peer;
use kit::turnserver::Turnserver;

#[test]
fn the_kits_client_relays_through_coturn() {
    let (server, peer) = (Turnserver::start(), Peer::start());
    let mut client = TurnClient::new(server.address, Login::new("alice", "wonderland")).unwrap();
    assert_eq!(client.binding().unwrap(), client.local());

    let options = AllocateOptions {
        even_port: Some(true),
        lifetime: Some(900),
        ..Default::default()
    };
    let allocated = client.allocate_with(options).unwrap();
    assert_eq!(allocated.mapped, client.local());
    assert!(allocated.relay.port().is_multiple_of(2) && allocated.token.is_some());

    client.permit(&[peer.address.ip()]).unwrap();
    client.send(peer.address, b"by indication").unwrap();
    let (from, payload) = client.recv(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(
        (from, payload.as_slice()),
        (From::Peer(peer.address), b"by indication".as_slice())
    );

    client.bind_channel(0x4001, peer.address).unwrap();
    client.send_channel(0x4001, b"by channel").unwrap();
    let (from, payload) = client.recv(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(
        (from, payload.as_slice()),
        (From::Channel(0x4001), b"by channel".as_slice())
    );

    assert_eq!(client.refresh(0).unwrap(), 0);
}

#[test]
fn a_wrong_password_is_refused_by_coturn_with_401() {
    let server = Turnserver::start();
    let mut client = TurnClient::new(server.address, Login::new("alice", "looking-glass")).unwrap();
    assert_eq!(client.allocate().unwrap_err().code(), Some(401));
}
