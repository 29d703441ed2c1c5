//! The JSON types of the admin API, one file per noun, and its routes.
//!
//! Rules of the wire: times are Unix milliseconds (`*_at_ms`), durations are seconds (`*_secs`),
//! rates are bits per second (`*_bps`), sizes are bytes. Unknown fields are ignored by readers, so
//! that nodes and consoles of neighbouring versions understand each other.

pub mod credential;
pub mod error;
pub mod event;
pub mod job;
pub mod node;
pub mod page;
pub mod realm;
pub mod route;
pub mod secret;
pub mod session;
pub mod token;
pub mod user;

pub use credential::{Credential, MintRequest};
pub use error::{ApiError, ErrorKind};
pub use event::{AuditView, EventKind, EventView, Severity};
pub use job::{ItemOutcome, JobItem, JobState, JobView};
pub use node::{Capacity, NodeRole, NodeState, NodeView, Overview, RefusalCount, StoreState};
pub use page::{ListQuery, MissingNode, Page, Scope};
pub use realm::{RealmDocument, RealmPut, RealmView};
pub use secret::{SecretCreate, SecretCreated, SecretView};
pub use session::{
    BlockRequest, ChannelView, KillRequest, KillResult, PermissionView, SessionDetail, SessionView,
    SessionsKill,
};
pub use token::{Role, TokenCreate, TokenCreated, TokenView, WhoAmI};
pub use user::{BlockView, UserPatch, UserPut, UserView};
