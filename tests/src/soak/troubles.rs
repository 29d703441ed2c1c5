//! What befalls the cluster while clients talk: operators at work, and everything that can break.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use relayctl::client::{AdminApi as _, ClientResult, FleetApi as _};
use shared::Realm;
use shared::api::{BanCreate, BanKind, KillRequest, ListQuery, RealmPut, UserPatch, UserPut};

use super::stage::Stage;
use crate::node::REALM;
use crate::wait::{until, wait_until};

/// A user that operators change.
const SOMEBODY: &str = "somebody";
const REASON: &str = "soak";
/// How long a node, or the store, may take to be itself again.
const BACK: Duration = Duration::from_secs(60);
/// A limit that nobody reaches.
const PLENTY: u64 = 100_000_000_000;

/// One kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Sessions are ended through a node that has them not.
    Kill,
    /// The realm and a user are edited.
    Edit,
    /// A network of clients is banned, and the ban is taken back.
    Ban,
    /// A node is killed, and started again.
    Crash,
    /// A node's process hands over to a new one.
    Upgrade,
    /// A node is stopped in good order, and started again.
    Restart,
    /// The master of Redis stands still for some seconds.
    Pause,
    /// It is killed: its replica takes over, and it comes back as the replica.
    Loss,
    /// The replica takes over in good order.
    FailOver,
}

impl Trouble {
    /// Every kind.
    const ALL: [Self; 9] = [
        Self::Kill,
        Self::Edit,
        Self::Ban,
        Self::Crash,
        Self::Upgrade,
        Self::Restart,
        Self::Pause,
        Self::Loss,
        Self::FailOver,
    ];
    /// Those that leave something in the store for good: done once before books are opened.
    pub(super) const LASTING: [Self; 3] = [Self::Kill, Self::Edit, Self::Ban];

    /// All of them in some order.
    pub(super) fn shuffled(random: &mut StdRng) -> Vec<Self> {
        let mut all = Self::ALL.to_vec();
        all.shuffle(random);
        all
    }

    /// Makes it happen, and mends it. Answers what the operator's calls failed with: the store may
    /// be away just then.
    pub(super) fn happen(self, stage: &mut Stage, random: &mut StdRng) -> Vec<String> {
        let gateway = random.random_range(0..stage.nodes.len());
        let outcome = match self {
            Self::Kill => kill(stage, gateway),
            Self::Edit => edit(stage, gateway, random),
            Self::Ban => ban(stage, gateway),
            // The first node lives through everything.
            Self::Crash | Self::Upgrade | Self::Restart => {
                let node = &mut stage.nodes[random.random_range(1..3)];
                match self {
                    Self::Crash => node.kill(),
                    Self::Upgrade => {
                        let mut elder = node.upgrade();
                        let _ = elder.ended(BACK);
                        return Vec::new();
                    }
                    _ => {
                        node.signal("TERM");
                        node.wait_exit();
                    }
                }
                node.launch();
                node.wait_ready();
                Ok(())
            }
            Self::Pause => {
                let master = &stage.store.servers[stage.store.master()];
                master.pause();
                until(Instant::now() + Duration::from_millis(random.random_range(300..900)));
                master.resume();
                Ok(())
            }
            Self::Loss => {
                let master = stage.store.master();
                stage.store.servers[master].kill();
                wait_until("the replica to take over", BACK, || {
                    stage.store.master() != master
                });
                stage.store.servers[master].restart();
                in_step(stage);
                Ok(())
            }
            Self::FailOver => {
                in_step(stage);
                stage.store.fail_over();
                in_step(stage);
                Ok(())
            }
        };
        let failed = outcome.err().map(|error| format!("{self:?}: {error}"));
        failed.into_iter().collect()
    }
}

/// Waits until there is a master with a replica that has what it has.
pub(super) fn in_step(stage: &Stage) {
    wait_until("a replica in step", BACK, || {
        let other = 1 - stage.store.master();
        let said = stage.store.servers[other].cli(&["INFO", "replication"]);
        said.contains("role:slave") && said.contains("master_link_status:up")
    });
}

fn kill(stage: &Stage, gateway: usize) -> ClientResult<()> {
    let admin = stage.nodes[gateway].admin();
    let query = ListQuery {
        limit: Some(3),
        sort: Some("age".to_owned()),
        ..ListQuery::default()
    };
    let page = admin.call(|api| api.sessions(&query))?;
    for session in page.items {
        let request = KillRequest {
            reason: REASON.to_owned(),
            block_secs: None,
        };
        let id = session.id.to_string();
        // It may be over by now.
        let _ = admin.call(|api| api.kill_session(&id, &request));
    }
    Ok(())
}

fn edit(stage: &Stage, gateway: usize, random: &mut StdRng) -> ClientResult<()> {
    let admin = stage.nodes[gateway].admin();
    let realm: Realm = REALM.parse().expect("the kit's realm");
    let now = admin.call(|api| api.realm(&realm))?;
    let mut document = now.document;
    let limit = PLENTY + random.random_range(0..1000_u64);
    document.max_rate_bps = Some(limit).filter(|limit| limit % 2 == 0);
    let put = RealmPut {
        document,
        reason: REASON.to_owned(),
    };
    admin.call(|api| api.put_realm(&realm, now.revision, &put))?;
    let user = UserPut {
        password: format!("a password of {limit}"),
        reason: REASON.to_owned(),
    };
    admin.call(|api| api.put_user(&realm, SOMEBODY, &user))?;
    let patch = UserPatch {
        max_rate_bps: Some(limit),
        reason: REASON.to_owned(),
        ..UserPatch::default()
    };
    admin
        .call(|api| api.patch_user(&realm, SOMEBODY, &patch))
        .map(drop)
}

fn ban(stage: &Stage, gateway: usize) -> ClientResult<()> {
    let admin = stage.nodes[gateway].admin();
    let create = BanCreate {
        kind: BanKind::Client,
        net: stage
            .outlaw
            .to_string()
            .parse()
            .expect("an address is a net"),
        secs: 60,
        dry_run: false,
        expected: None,
        reason: REASON.to_owned(),
    };
    let ban = admin.call(|api| api.create_ban(&create))?;
    until(Instant::now() + Duration::from_secs(1));
    admin.call(|api| api.delete_ban(&ban.ban.id, REASON))
}
