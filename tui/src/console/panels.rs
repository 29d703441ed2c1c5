//! What stands beside the lists: panels, the header's extras, and when they were asked for.

use std::collections::HashMap;

use shared::Realm;
use shared::api::{AlertView, ConfigView, GroupView, Page, SecretView};

use super::history::Histories;
use super::message::Slot;
use crate::client::HistoryOf;

/// Answers that are shown beside a list.
#[derive(Debug, Default)]
pub(crate) struct Panels {
    /// Figures over time.
    pub(crate) histories: Histories,
    /// Conditions that hold, for the header and the pulse.
    pub(crate) alerts: Option<Page<AlertView>>,
    /// The settings of the node that was selected last.
    pub(crate) config: Option<ConfigView>,
    /// The secrets of the realm that was looked at last.
    pub(crate) secrets: Option<(Realm, Vec<SecretView>)>,
    /// Its users with the most traffic.
    pub(crate) users: Option<(Realm, Page<GroupView>)>,
    /// When each question was asked last.
    pub(crate) asked_ms: HashMap<Slot, u64>,
    /// What the cursor is on, and since when: it is asked about once the cursor rests.
    pub(crate) rests_on: Option<(HistoryOf, u64)>,
}
