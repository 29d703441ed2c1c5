//! Vocabulary that `relayd` and `relayctl` share.
//!
//! Ids, names, units, the filter grammar and the JSON types of the admin API. Nothing here knows
//! sockets, async runtimes, STUN messages, Redis or the terminal: both programs, and the protocol
//! core, can depend on it without dragging anything along.

pub mod api;
pub mod filter;
pub mod id;
pub mod ip_range;
pub mod oauth_algorithm;
pub mod opaque;
pub mod password_algorithm;
pub mod realm;
pub mod safe_text;
pub mod secret;
pub mod transport;
pub mod units;
pub mod web_origin;

pub use id::{NodeId, SessionId, SessionIdPrefix, WorkerId};
pub use ip_range::IpRange;
pub use oauth_algorithm::OauthAlgorithm;
pub use opaque::opaque_string;
pub use password_algorithm::PasswordAlgorithm;
pub use realm::{Realm, Username};
pub use safe_text::{SafeText, display_safe};
pub use secret::Secret;
pub use transport::{RelayTransport, Transport};
pub use web_origin::WebOrigin;
