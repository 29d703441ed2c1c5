//! The JSON types of the admin API, one file per noun, and its routes.
//!
//! Rules of the wire: times are Unix milliseconds (`*_at_ms`), durations are seconds (`*_secs`),
//! rates are bits per second (`*_bps`), sizes are bytes. Unknown fields are ignored by readers, so
//! that nodes and consoles of neighbouring versions understand each other.

pub mod alert;
pub mod ban;
mod beside;
pub mod config;
pub mod credential;
pub mod data;
pub mod drain;
pub mod error;
pub mod event;
pub mod group;
pub mod history;
pub mod job;
pub mod node;
pub mod oauth;
pub mod page;
pub mod realm;
pub mod redirect;
pub mod refusal;
mod refusal_help;
mod revision;
pub mod route;
pub mod secret;
pub mod session;
pub mod token;
mod upgrade;
pub mod user;

pub use alert::{AlertRule, AlertRulePatch, AlertRules, AlertView};
pub use ban::{BanCreate, BanKind, BanResult, BanView};
pub use beside::BesideView;
pub use config::{
    Applies, ConfigChange, ConfigOverrides, ConfigPatch, ConfigResult, ConfigView, SettingKind,
    SettingSource, SettingView, setting_text,
};
pub use credential::{Credential, IceServer, MAX_PLACED, MintRequest};
pub use data::{
    ImportOutcome, ImportResult, ImportedUser, RealmImport, RevealRequest, Revealed, RevealedSecret,
};
pub use drain::{DrainEstimate, DrainRequest, DrainView, MAX_DRAIN_SECS};
pub use error::{ApiError, ErrorKind};
pub use event::{AuditView, EventKind, EventView, Severity};
pub use group::{GroupBy, GroupByError, GroupQuery, GroupView};
pub use history::{HistorySample, HistoryView};
pub use job::{ItemOutcome, JobItem, JobState, JobView};
pub use node::{
    Capacity, CertificateView, CredentialKinds, NodeRole, NodeState, NodeView, Overview,
    StoreState, usual_version,
};
pub use oauth::{OauthKeyCreated, OauthKeyPut, OauthKeyView};
pub use page::{ListQuery, MissingNode, Page, Scope};
pub use realm::{RealmApplied, RealmDocument, RealmPreview, RealmPut, RealmView, WithoutStore};
pub use redirect::{RedirectCreate, RedirectHealth, RedirectView};
pub use refusal::{RefusalCount, RefusalView};
pub use refusal_help::{explain_refusal, refusal_reasons};
pub use revision::{
    RealmChange, RealmDiff, RealmDiffQuery, RealmRevision, RealmUndo, realm_changes,
};
pub use secret::{
    SecretCreate, SecretCreated, SecretPatch, SecretState, SecretUsage, SecretUser, SecretView,
};
pub use session::{
    BlockRequest, ChannelView, KillRequest, KillResult, PeerConnectionState, PeerConnectionView,
    PermissionView, RateLimits, SessionDetail, SessionView, SessionsKill,
};
pub use token::{Role, TokenCreate, TokenCreated, TokenView, WhoAmI};
pub use upgrade::{UpgradeRequest, UpgradeView};
pub use user::{BlockView, UserPatch, UserPut, UserView};
