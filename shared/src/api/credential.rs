//! Time-limited credentials (TURN REST), minted by the server, and the nodes to use them at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// Nodes that a [`MintRequest`] may ask for at most.
pub const MAX_PLACED: u32 = 8;

/// `POST /v1/realms/{realm}/credentials`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct MintRequest {
    /// The id part of the username; may be empty.
    pub user: String,
    /// Seconds until it ends, 60 to 604,800; absent: 86,400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
    /// Labels that a node must have to be named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Nodes with the labels come first, and others are named where there are too few of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prefer: bool,
    /// Nodes that are named, 0 to [`MAX_PLACED`]; absent: 3. With 0 there is a credential, and whether
    /// any node takes sessions is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// A minted credential, and the nodes that it is for.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Credential {
    /// `expiry:user`.
    pub username: String,
    /// base64 of HMAC-SHA1(secret, username).
    pub credential: String,
    /// Seconds until it ends.
    pub ttl_secs: u64,
    /// All URIs (RFC 7065) of `ice_servers`.
    pub urls: Vec<String>,
    /// One for each node, the best first, as browsers take it: `new RTCPeerConnection({iceServers})`.
    #[serde(default, rename = "iceServers")]
    pub ice_servers: Vec<IceServer>,
    /// The nodes, in the same order.
    #[serde(default)]
    pub nodes: Vec<NodeId>,
}

/// `RTCIceServer` of W3C's WebRTC.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct IceServer {
    /// Where clients reach the node, as URIs (RFC 7065): its listeners of the realm.
    pub urls: Vec<String>,
    /// The username of the credential.
    pub username: String,
    /// Its password.
    pub credential: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("ttl_secs", &self.ttl_secs)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}
