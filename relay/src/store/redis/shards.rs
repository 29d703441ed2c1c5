//! The servers as calls see them: each command goes to the one that has its key.
//!
//! A single server, or the master that sentinels name, gets everything as it is. In a cluster a
//! pipeline is taken apart by server and its answers are put together again; `MOVED` and `ASK` are
//! followed, and nothing here waits longer than the deadline of the call. The crate's own cluster
//! client takes no pipeline over several servers, and has no place for client tracking on each.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::ConnectionLike;
use redis::{
    Cmd, ConnectionInfo, FromRedisValue, Pipeline, RedisError, RedisFuture, ServerError,
    ServerErrorKind, Value, cmd, pipe,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::DropGuard;

use super::error::{map, passing};
use super::guests::Guests;
use super::link::{Link, silent, stopping};
use super::options::{Address, RedisOptions, host_and_port};
use super::slots::{key_of, slot};
use super::topology::Topology;
use crate::store::{DEADLINE, StoreError};

/// How often a command is sent again to where it is said to belong.
pub(super) const REDIRECTIONS: usize = 6;
/// Pause before a command is tried again whose keys are on their way to another server.
const MOVING: Duration = Duration::from_millis(20);

/// One server, and what ends its supervisor when it is nobody's any more.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) link: Arc<Link>,
    pub(super) _guard: Option<DropGuard>,
}

/// The servers, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) topology: Topology,
    pub(super) shards: Vec<Arc<Shard>>,
    /// Why none is known; `None` at first, while nobody was asked.
    pub(super) trouble: Option<(Arc<str>, bool)>,
}

impl Servers {
    /// One that is written to.
    pub(super) fn at(&self, address: &Address) -> Option<&Arc<Shard>> {
        let mut shards = self.shards.iter();
        shards.find(|shard| shard.link.address == *address)
    }

    /// Whether there is a link to each master.
    pub(super) fn has_all(&self) -> bool {
        let masters = self.topology.masters();
        masters.iter().all(|address| self.at(address).is_some())
    }

    /// The link to whoever has the slot; without a slot any that works.
    fn of(&self, slot: Option<u16>) -> Result<Arc<Link>, StoreError> {
        let link = match slot {
            Some(slot) => self.topology.master_of(slot).and_then(|at| self.at(at)),
            None => {
                let up = self.shards.iter().find(|shard| shard.link.is_up());
                up.or(self.shards.first())
            }
        };
        let link = link.map(|shard| Arc::clone(&shard.link));
        link.ok_or_else(|| {
            StoreError::NotNow("no server of the cluster has the key's slot".to_owned())
        })
    }
}

/// In which order the commands of a pipeline are to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// In any, each server for itself: reads, and writes that do not depend on each other.
    Any,
    /// As they stand, slot by slot; those after one that its server did not take are not sent. What
    /// has no key, as what is told to everybody, waits for those before it.
    Given,
}

/// Where a command is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To whoever has its slot.
    Owner,
    /// To a server that was named as the owner.
    Moved(Address),
    /// To a server that takes the slot over, and has this key already.
    Ask(Address),
}

/// All servers of the store.
#[derive(Debug)]
pub(super) struct Shards {
    pub(super) options: RedisOptions,
    pub(super) info: ConnectionInfo,
    /// Servers of the cluster that the options name; empty: it is none.
    pub(super) seeds: Vec<Address>,
    pub(super) servers: watch::Sender<Arc<Servers>>,
    /// Servers that others named and that have no slots.
    pub(super) guests: Guests,
    /// Who has which slots is to be asked again.
    pub(super) stale: Notify,
}

impl Shards {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let info = options.info()?;
        let (seeds, servers) = match options.cluster.is_empty() {
            true => {
                let shard = Shard {
                    link: Arc::new(Link::new(options)?),
                    _guard: None,
                };
                let servers = Servers {
                    shards: vec![Arc::new(shard)],
                    ..Servers::default()
                };
                (Vec::new(), servers)
            }
            false => {
                let seeds = options.seeds(&info)?;
                // What can never work is said at once.
                for seed in &seeds {
                    Link::to(options, &info, seed.clone())?;
                }
                (seeds, Servers::default())
            }
        };
        Ok(Self {
            options: options.clone(),
            info,
            seeds,
            servers: watch::Sender::new(Arc::new(servers)),
            guests: Guests::default(),
            stale: Notify::new(),
        })
    }

    pub(super) fn is_cluster(&self) -> bool {
        !self.seeds.is_empty()
    }

    pub(super) fn now(&self) -> Arc<Servers> {
        Arc::clone(&self.servers.borrow())
    }

    /// The links to all servers that are written to.
    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        let servers = self.now();
        let links = servers.shards.iter().map(|shard| Arc::clone(&shard.link));
        links.collect()
    }

    /// Whether all servers answer.
    pub(super) fn is_up(&self) -> bool {
        let servers = self.now();
        let mut shards = servers.shards.iter();
        !servers.shards.is_empty() && servers.has_all() && shards.all(|shard| shard.link.is_up())
    }

    /// Whether all servers tell what other tools change.
    pub(super) fn told(&self) -> bool {
        self.links().iter().all(|link| link.told())
    }

    /// The servers; waits only while nobody was asked yet.
    async fn known(&self) -> Result<Arc<Servers>, StoreError> {
        let mut servers = self.servers.subscribe();
        let settled = servers
            .wait_for(|servers| !servers.shards.is_empty() || servers.trouble.is_some())
            .await;
        let servers = settled.map_err(|_| stopping())?;
        match &servers.trouble {
            None => Ok(Arc::clone(&servers)),
            Some((reason, true)) => Err(StoreError::Refused(reason.to_string())),
            Some((reason, false)) => Err(StoreError::Unavailable(reason.to_string())),
        }
    }

    /// The link to the server that has this key, or that another one named for it.
    pub(super) async fn link_for(
        &self,
        key: &str,
        target: &Target,
    ) -> Result<Arc<Link>, StoreError> {
        match target {
            Target::Owner => {
                let slot = self.is_cluster().then(|| slot(key.as_bytes()));
                self.known().await?.of(slot)
            }
            Target::Moved(address) | Target::Ask(address) => self.link_at(address),
        }
    }

    /// One command within the usual deadline.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let exchange = async {
            if !self.is_cluster() {
                return self.known().await?.of(None)?.command(command).await;
            }
            let mut answers = self.spread(&[command]).await?;
            answers.pop().ok_or_else(silent)
        };
        let value = within(DEADLINE, exchange).await?;
        let value = value.extract_error().map_err(map)?;
        redis::from_redis_value(value).map_err(|error| map(error.into()))
    }

    /// A pipeline within the usual deadline, in any order where there are several servers.
    pub(super) async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, StoreError> {
        self.exchange(DEADLINE, pipe, Order::Any).await
    }

    /// The answers of a pipeline of reads of which some may be errors, as of a key of another type. Not
    /// those of a server that has no time for any: that would look as if nothing were there.
    pub(super) async fn each(&self, pipe: &mut Pipeline) -> Result<Vec<Value>, StoreError> {
        pipe.ignore_errors();
        let answers: Vec<Value> = self.pipe(pipe).await?;
        match answers.iter().find_map(passing) {
            Some(error) => Err(error),
            None => Ok(answers),
        }
    }

    /// A pipeline within `deadline`, in any order where there are several servers.
    pub(super) async fn pipe_within<T: FromRedisValue>(
        &self,
        deadline: Duration,
        pipe: &Pipeline,
    ) -> Result<T, StoreError> {
        self.exchange(deadline, pipe, Order::Any).await
    }

    /// A pipeline within the usual deadline whose commands take effect one after the other.
    pub(super) async fn in_order<T: FromRedisValue>(
        &self,
        pipe: &Pipeline,
    ) -> Result<T, StoreError> {
        self.exchange(DEADLINE, pipe, Order::Given).await
    }

    async fn exchange<T: FromRedisValue>(
        &self,
        deadline: Duration,
        pipe: &Pipeline,
        order: Order,
    ) -> Result<T, StoreError> {
        let answers = match pipe.is_empty() {
            true => Vec::new(),
            false => within(deadline, self.answers(pipe, order)).await?,
        };
        // The pipeline itself knows which errors are answers.
        let composed = pipe.query_async(&mut Answers(answers)).await;
        composed.map_err(map)
    }

    async fn answers(&self, pipe: &Pipeline, order: Order) -> Result<Vec<Value>, StoreError> {
        if !self.is_cluster() {
            return self.known().await?.of(None)?.commands(pipe).await;
        }
        let commands: Vec<&Cmd> = pipe.cmd_iter().collect();
        if pipe.is_transaction() {
            return self.transaction(&commands).await.map(|answer| vec![answer]);
        }
        if order == Order::Any {
            return self.spread(&commands).await;
        }
        let places = commands.iter().map(|command| key_of(command).is_some());
        let places: Vec<_> = slots_of(&commands).into_iter().zip(places).collect();
        let mut answers = Vec::with_capacity(commands.len());
        for run in places.chunk_by(|a, b| a == b) {
            let from = answers.len();
            let part = self.spread(&commands[from..from + run.len()]).await?;
            if let Some(error) = part.iter().find_map(passing) {
                return Err(error);
            }
            answers.extend(part);
        }
        Ok(answers)
    }

    /// Sends commands to the servers that have their keys, all at once, and follows where they are
    /// sent on to.
    async fn spread(&self, commands: &[&Cmd]) -> Result<Vec<Value>, StoreError> {
        let slots = slots_of(commands);
        let mut answers = vec![Value::Nil; commands.len()];
        let mut open: Vec<(usize, Target)> =
            (0..commands.len()).map(|at| (at, Target::Owner)).collect();
        for _ in 0..REDIRECTIONS {
            let groups = self.groups(&slots, &open).await?;
            let sent = groups.iter().map(|group| group.send(commands));
            let mut failure = None;
            open.clear();
            for (group, answered) in groups.iter().zip(join_all(sent).await) {
                let values = match answered {
                    Ok(values) => values,
                    Err(error) => {
                        failure = Some(error);
                        continue;
                    }
                };
                for (&at, value) in group.members.iter().zip(values) {
                    let next = redirection(&value, &group.link.address);
                    open.extend(next.map(|target| (at, target)));
                    answers[at] = value;
                }
            }
            if let Some(failure) = failure {
                self.stale.notify_one();
                return Err(failure);
            }
            if open.is_empty() {
                break;
            }
            self.prepare(open.iter().map(|(_, target)| target)).await;
        }
        Ok(answers)
    }

    /// Gets ready to send again what was sent on.
    pub(super) async fn prepare(&self, mut targets: impl Iterator<Item = &Target> + Clone) {
        if targets
            .clone()
            .any(|target| matches!(target, Target::Moved(_)))
        {
            self.stale.notify_one();
        }
        if targets.any(|target| *target == Target::Owner) {
            tokio::time::sleep(MOVING).await;
        }
    }

    /// Commands by the server that they are for.
    async fn groups(
        &self,
        slots: &[Option<u16>],
        open: &[(usize, Target)],
    ) -> Result<Vec<Group>, StoreError> {
        let servers = self.known().await?;
        let mut groups: Vec<Group> = Vec::new();
        for (at, target) in open {
            let link = match target {
                Target::Owner => servers.of(slots[*at])?,
                Target::Moved(address) | Target::Ask(address) => self.link_at(address)?,
            };
            let asking = matches!(target, Target::Ask(_));
            let group = groups
                .iter_mut()
                .find(|group| group.asking == asking && Arc::ptr_eq(&group.link, &link));
            match group {
                Some(group) => group.members.push(*at),
                None => groups.push(Group {
                    link,
                    asking,
                    members: vec![*at],
                }),
            }
        }
        Ok(groups)
    }

    /// The link to a server that another one named. One that is new is linked at once: it may have no
    /// slots yet, and then nobody tells of it.
    fn link_at(&self, address: &Address) -> Result<Arc<Link>, StoreError> {
        if let Some(shard) = self.now().at(address) {
            return Ok(Arc::clone(&shard.link));
        }
        self.stale.notify_one();
        self.guests.link(address)
    }

    /// Runs commands of one slot as a transaction; its answer is that of EXEC. Where their key is on
    /// its way to another server, they run there one by one: there is no other way.
    async fn transaction(&self, commands: &[&Cmd]) -> Result<Value, StoreError> {
        let slots = slots_of(commands);
        let mut whole = pipe();
        whole.cmd("MULTI");
        for command in commands {
            whole.add_command((*command).clone());
        }
        whole.cmd("EXEC");
        let mut target = Target::Owner;
        for _ in 0..REDIRECTIONS {
            let link = match &target {
                Target::Owner => self.known().await?.of(slots.first().copied().flatten())?,
                Target::Moved(address) => self.link_at(address)?,
                Target::Ask(_) => {
                    let open = (0..commands.len()).map(|at| (at, target.clone()));
                    let open: Vec<_> = open.collect();
                    let groups = self.groups(&slots, &open).await?;
                    let group = groups.first().ok_or_else(silent)?;
                    return group.send(commands).await.map(Value::Array);
                }
            };
            let mut values = link.commands(&whole).await.inspect_err(|_| {
                self.stale.notify_one();
            })?;
            let refusal = values
                .iter()
                .find(|value| matches!(value, Value::ServerError(_)));
            let Some(refusal) = refusal else {
                return values.pop().ok_or_else(silent);
            };
            let Some(next) = redirection(refusal, &link.address) else {
                return refusal.clone().extract_error().map_err(map);
            };
            target = next;
            self.prepare([&target].into_iter()).await;
        }
        Err(in_circles())
    }
}

/// Commands for one server.
struct Group {
    link: Arc<Link>,
    /// Each has to be announced: the slot is not the server's yet.
    asking: bool,
    /// Their places in the pipeline, in order.
    members: Vec<usize>,
}

impl Group {
    async fn send(&self, commands: &[&Cmd]) -> Result<Vec<Value>, StoreError> {
        let mut part = pipe();
        for &at in &self.members {
            if self.asking {
                part.add_command(cmd("ASKING"));
            }
            part.add_command(commands[at].clone());
        }
        let values = self.link.commands(&part).await?;
        Ok(match self.asking {
            true => values.into_iter().skip(1).step_by(2).collect(),
            false => values,
        })
    }
}

/// The slots of commands. One without a key goes where the one before it goes, or else the next:
/// so a time is told, and a change published, by the server that it is about.
fn slots_of(commands: &[&Cmd]) -> Vec<Option<u16>> {
    let mut slots: Vec<Option<u16>> = commands
        .iter()
        .map(|command| key_of(command).map(slot))
        .collect();
    let mut last = slots.iter().copied().flatten().next();
    for known in &mut slots {
        last = known.or(last);
        *known = last;
    }
    slots
}

pub(super) fn in_circles() -> StoreError {
    StoreError::NotNow("the servers of the cluster send a command around in circles".to_owned())
}

/// Where a command is to be sent again, if it is, that the server at `asked` answered so.
pub(super) fn redirection(answer: &Value, asked: &Address) -> Option<Target> {
    let Value::ServerError(error) = answer else {
        return None;
    };
    match error.kind()? {
        ServerErrorKind::Moved => named(error, asked).map(Target::Moved),
        ServerErrorKind::Ask => named(error, asked).map(Target::Ask),
        ServerErrorKind::TryAgain => Some(Target::Owner),
        _ => None,
    }
}

/// The server that a redirection names behind the slot. One without a host is where the server that
/// says so is.
fn named(error: &ServerError, asked: &Address) -> Option<Address> {
    let text = error.details()?.split_whitespace().nth(1)?;
    match text.strip_prefix(':') {
        None => host_and_port(text),
        Some(port) => {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            Some((asked.0.clone(), port))
        }
    }
}

/// Where the server at `asked` says that the keys of a pipeline are now, if it does.
pub(super) fn sent_on(error: &RedisError, asked: &Address) -> Option<Target> {
    let errors = error.clone().into_server_errors()?;
    let (_, first) = errors.first()?;
    redirection(&Value::ServerError(first.clone()), asked)
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let ended = tokio::time::timeout(deadline, work).await;
    ended.unwrap_or_else(|_| Err(silent()))
}

/// Answers that are there already, for the pipeline that they are of.
struct Answers(Vec<Value>);

impl ConnectionLike for Answers {
    fn req_packed_command<'a>(&'a mut self, _command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(ready(Ok(self.0.pop().unwrap_or_default())))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _pipeline: &'a Pipeline,
        _offset: usize,
        _count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(ready(Ok(std::mem::take(&mut self.0))))
    }

    fn get_db(&self) -> i64 {
        0
    }
}
