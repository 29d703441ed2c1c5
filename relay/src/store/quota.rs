//! What nodes tell the store of the sessions that they hold, and of the rates that they want, so that
//! limits count over all of them.
//!
//! A node says how many it holds, never how many more or less: a message that is lost, or taken twice,
//! is put right by the next one. What a holder said counts for as long as its lease lasts.

use std::time::Duration;

use shared::Realm;

/// How long what a holder said counts after it was heard last.
pub const QUOTA_LEASE: Duration = Duration::from_secs(10);
/// How long numbers are kept that nobody writes again.
pub const QUOTA_KEPT: Duration = Duration::from_secs(3600);
/// Users, or budgets, of one turn at most.
pub const QUOTA_TURN: usize = 256;
/// A share that is the whole of a limit.
pub const WHOLE: u32 = turn_proto::WHOLE;

/// What one start of a node says of its sessions in one realm, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaTurn {
    /// The realm.
    pub realm: Realm,
    /// Who says so: a node and, after a slash, one of its starts.
    pub holder: String,
    /// Nodes whose other starts hold nothing any more: it is held here, or over.
    pub replaces: Vec<String>,
    /// Sessions held in the realm, without those that are asked for.
    pub sessions: u32,
    /// The most that all nodes may have of the realm.
    pub limit: Option<u32>,
    /// Users about whom there is something to say; [`QUOTA_TURN`] at most, each once.
    pub users: Vec<UserTurn>,
}

/// What a holder says of one user, and asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserTurn {
    /// The user; an empty one counts for the realm only.
    pub user: String,
    /// Sessions held, without those that are asked for.
    pub held: u32,
    /// How many more.
    pub asked: u32,
    /// The most that all nodes may have of the user.
    pub limit: Option<u32>,
}

/// What the store answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaAnswer {
    /// Whether the holder had no lease: what it said before may be forgotten.
    pub is_new: bool,
    /// Sessions that others hold in the realm.
    pub others: u32,
    /// For each user of the turn, in its order.
    pub users: Vec<UserAnswer>,
}

/// What the store answers about one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserAnswer {
    /// How many of those that were asked for are held from now on.
    pub granted: u32,
    /// Sessions of the user that others hold.
    pub others: u32,
    /// What the rest was refused for.
    pub refused: Option<QuotaLimit>,
}

/// A limit over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaLimit {
    /// The user's.
    User,
    /// The realm's.
    Realm,
}

/// What one start of a node wants of rates that nodes share, in one realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateTurn {
    /// The realm.
    pub realm: Realm,
    /// Who wants it: a node and its start, as in [`QuotaTurn::holder`].
    pub holder: String,
    /// Nodes of which no other start leases anything any more.
    pub replaces: Vec<String>,
    /// What of; [`QUOTA_TURN`] at most, each once.
    pub wishes: Vec<RateWish>,
}

/// What is wanted of one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateWish {
    /// The user whose budget it is; `None`: the realm's.
    pub user: Option<String>,
    /// Millionths of the limit that are wanted towards peers, and towards clients; `None`: nothing any
    /// more, for there is no session.
    pub wanted: Option<[u32; 2]>,
}

/// What the store answers about rates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateAnswer {
    /// Whether the holder had no lease: others may have what it leased before.
    pub is_new: bool,
    /// For each wish of the turn, in its order.
    pub shares: Vec<RateShare>,
    /// Users whose budgets somebody wants more of than is free, while a holder that wants nothing has
    /// some; `None`: the realm's. That holder gives it back by saying so again.
    pub asked: Vec<Option<String>>,
}

/// Shares of a limit towards peers and towards clients, in millionths. All that are leased are
/// [`WHOLE`] together at most.
pub type RateShare = [u32; 2];
