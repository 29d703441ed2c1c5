//! The methods of STUN and TURN that a check needs.

use std::net::SocketAddr;
use std::time::Duration;

use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};

use super::client::Client;
use super::error::TurnError;

/// REQUESTED-TRANSPORT: UDP (RFC 8656 §18.7).
pub(crate) const TRANSPORT_UDP: u32 = 17 << 24;

/// The address families that an allocation is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Family {
    /// Whatever the server gives without being asked: IPv4 (RFC 8656 §7.1).
    #[default]
    #[value(skip)]
    Unsaid,
    /// IPv4.
    #[value(name = "4")]
    V4,
    /// IPv6.
    #[value(name = "6")]
    V6,
    /// IPv4, and IPv6 beside it.
    Both,
}

/// What an Allocate was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// XOR-RELAYED-ADDRESS, one per family.
    pub relays: Vec<SocketAddr>,
    /// XOR-MAPPED-ADDRESS.
    pub mapped: SocketAddr,
    /// LIFETIME.
    pub lifetime: Duration,
    /// Error code of ADDRESS-ERROR-CODE: the additional family is not there.
    pub missing_family: Option<u16>,
}

impl Client {
    /// Binding: our address as the server sees it.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn binding(&mut self) -> Result<SocketAddr, TurnError> {
        let answer = self.request(Method::Binding, &|request| request).await?;
        mapped(&answer.message()?)
    }

    /// Allocate.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn allocate(&mut self, family: Family) -> Result<Allocated, TurnError> {
        let fill = |request: MessageBuilder| {
            let request = request.number(AttributeType::REQUESTED_TRANSPORT, TRANSPORT_UDP);
            match family {
                Family::Unsaid => request,
                Family::V4 => request.number(AttributeType::REQUESTED_ADDRESS_FAMILY, 1 << 24),
                Family::V6 => request.number(AttributeType::REQUESTED_ADDRESS_FAMILY, 2 << 24),
                Family::Both => request.number(AttributeType::ADDITIONAL_ADDRESS_FAMILY, 2 << 24),
            }
        };
        let answer = self.request(Method::Allocate, &fill).await?;
        let message = answer.message()?;
        let relays = message.attributes().filter_map(|(kind, value)| {
            let relay = kind == AttributeType::XOR_RELAYED_ADDRESS;
            let read = turn_proto::stun::address::read_xor;
            relay.then(|| read(value, message.transaction())).flatten()
        });
        let relays: Vec<_> = relays.collect();
        if relays.is_empty() {
            return Err(TurnError::Incomplete("XOR-RELAYED-ADDRESS"));
        }
        let error = message.attribute(AttributeType::ADDRESS_ERROR_CODE);
        Ok(Allocated {
            relays,
            mapped: mapped(&message)?,
            lifetime: lifetime(&message)?,
            missing_family: error
                .and_then(turn_proto::stun::ErrorCode::from_value)
                .map(turn_proto::stun::ErrorCode::get),
        })
    }

    /// CreatePermission for the addresses of these peers.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn permit(&mut self, peers: &[SocketAddr]) -> Result<(), TurnError> {
        let fill = |request: MessageBuilder| {
            peers.iter().fold(request, |request, peer| {
                request.xor_address(AttributeType::XOR_PEER_ADDRESS, *peer)
            })
        };
        self.request(Method::CreatePermission, &fill).await?;
        Ok(())
    }

    /// ChannelBind.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn bind_channel(
        &mut self,
        number: ChannelNumber,
        peer: SocketAddr,
    ) -> Result<(), TurnError> {
        let fill = |request: MessageBuilder| {
            request
                .number(AttributeType::CHANNEL_NUMBER, u32::from(number.get()) << 16)
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
        };
        self.request(Method::ChannelBind, &fill).await?;
        Ok(())
    }

    /// Refresh; zero releases the allocation.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn refresh(&mut self, wanted: Duration) -> Result<Duration, TurnError> {
        let secs = u32::try_from(wanted.as_secs()).unwrap_or(u32::MAX);
        let fill = |request: MessageBuilder| request.number(AttributeType::LIFETIME, secs);
        let answer = self.request(Method::Refresh, &fill).await?;
        lifetime(&answer.message()?)
    }

    /// Sends data in a Send indication.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send_to(&mut self, peer: SocketAddr, payload: &[u8]) -> Result<(), TurnError> {
        let mut id = [0; 12];
        getrandom::fill(&mut id).map_err(std::io::Error::other)?;
        let message = MessageBuilder::new(Class::Indication, Method::Send, TransactionId(id))
            .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
            .attribute(AttributeType::DATA, payload)
            .finish();
        self.send(&message).await
    }

    /// Sends data on a channel.
    ///
    /// # Errors
    /// The connection is gone, or the payload is longer than a message can be.
    pub async fn send_on(
        &mut self,
        number: ChannelNumber,
        payload: &[u8],
    ) -> Result<(), TurnError> {
        let len = u16::try_from(payload.len()).map_err(std::io::Error::other)?;
        let mut message = ChannelData::header(number, len).to_vec();
        message.extend_from_slice(payload);
        self.send(&message).await
    }
}

/// XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS of a server older than RFC 5389.
pub(crate) fn mapped(message: &Message<'_>) -> Result<SocketAddr, TurnError> {
    let xor = message.xor_address(AttributeType::XOR_MAPPED_ADDRESS);
    let plain = || message.plain_address(AttributeType::MAPPED_ADDRESS);
    let address = xor.ok().flatten().or_else(|| plain().ok().flatten());
    address.ok_or(TurnError::Incomplete("XOR-MAPPED-ADDRESS"))
}

pub(crate) fn lifetime(message: &Message<'_>) -> Result<Duration, TurnError> {
    let seconds = message.number(AttributeType::LIFETIME).ok().flatten();
    let seconds = seconds.ok_or(TurnError::Incomplete("LIFETIME"))?;
    Ok(Duration::from_secs(seconds.into()))
}
