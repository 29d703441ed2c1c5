//! The self-test of nodes in the console: what is to be checked, how it goes, and the task that does
//! it beside the loop.

use std::sync::Arc;

use futures_util::StreamExt as _;
use shared::api::NodeView;
use shared::{NodeId, Realm};
use tokio::sync::mpsc::{self, Sender, UnboundedSender};
use tokio_util::sync::CancellationToken;

use super::message::Message;
use crate::client::AdminApi;
use crate::turn::TurnUri;
use crate::turn::check::{CheckOptions, Status, Step};
use crate::turn::link::TlsOptions;
use crate::verify::{Progress, Verified, verify};

/// Nodes that are checked at once.
const AT_ONCE: usize = 4;

/// A self-test that is to be run.
#[derive(Clone, Debug)]
pub(crate) struct VerifyJob {
    /// Its number: news of an older one concern nobody.
    pub(crate) run: u64,
    /// The nodes.
    pub(crate) nodes: Vec<NodeView>,
    /// The realm whose client the check is; `None`: the realm that each listener serves.
    pub(crate) realm: Option<Realm>,
}

/// How it goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VerifyNews {
    /// The self-test's number.
    pub(crate) run: u64,
    /// What there is to tell.
    pub(crate) what: News,
}

/// What there is to tell of a self-test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    /// Of a node.
    Progress(NodeId, Progress),
    /// A node could not be checked: why.
    Failed(NodeId, String),
    /// All is done, or stopped.
    Ended,
}

/// The self-test on the screen.
pub(crate) struct VerifyDialog {
    /// Its number.
    pub(crate) run: u64,
    /// One row for each listener of each node.
    pub(crate) rows: Vec<Checked>,
    /// The row whose steps are shown.
    pub(crate) at: usize,
    /// The operator chose that row.
    pub(crate) held: bool,
    /// How far it is.
    pub(crate) state: RunState,
    /// When it began, Unix milliseconds.
    pub(crate) started_ms: u64,
    /// When it ended.
    pub(crate) ended_ms: Option<u64>,
}

/// How far a self-test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// It runs.
    Running,
    /// It was told to stop, and releases what it has.
    Stopping,
    /// It ended by itself.
    Done,
    /// It was stopped.
    Stopped,
}

/// A listener of a node, and how its check goes.
pub(crate) struct Checked {
    /// The node.
    pub(crate) node: NodeId,
    /// The listener's place among the node's.
    index: usize,
    /// `udp`, `tcp`, `tls` or `dtls`; `-` where the node tells no listener.
    pub(crate) transport: String,
    /// What is checked.
    pub(crate) uri: String,
    /// The steps that have ended.
    pub(crate) steps: Vec<Step>,
    /// How far it is.
    pub(crate) state: CheckState,
}

/// How far the check of a listener is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CheckState {
    /// Its turn comes.
    Waiting,
    /// Under way.
    Running,
    /// It came to this.
    Ended(Box<Verified>),
    /// The node could not be checked.
    Failed(String),
    /// It was stopped before it came to an end.
    Stopped,
}

impl Checked {
    /// Whether it failed.
    pub(crate) fn is_bad(&self) -> bool {
        match &self.state {
            CheckState::Ended(verified) => !verified.is_ok(),
            CheckState::Failed(_) => true,
            _ => false,
        }
    }

    /// Whether nothing more will come of it.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state, CheckState::Waiting | CheckState::Running)
    }

    /// Time of all its steps, in milliseconds.
    pub(crate) fn ms(&self) -> f64 {
        self.steps.iter().map(|step| step.ms).sum()
    }

    /// The last step that went wrong.
    pub(crate) fn failed_step(&self) -> Option<&Step> {
        let failed = |step: &&Step| step.status == Status::Failed;
        self.steps.iter().rev().find(failed)
    }
}

impl VerifyDialog {
    /// Nothing is checked so far.
    pub(crate) fn new(run: u64, nodes: &[NodeView], now_ms: u64) -> Self {
        let rows = nodes.iter().flat_map(|node| {
            let row = |index, uri: &str, transport: &str| Checked {
                node: node.id.clone(),
                index,
                transport: transport.to_owned(),
                uri: uri.to_owned(),
                steps: Vec::new(),
                state: CheckState::Waiting,
            };
            let listeners = node.urls.iter().enumerate().map(|(index, url)| {
                let uri = url.parse::<TurnUri>().ok();
                let transport = uri.map(|uri| uri.default_transport());
                row(index, url, transport.map_or("-", |t| t.as_str()))
            });
            let mut rows: Vec<_> = listeners.collect();
            if rows.is_empty() {
                rows.push(row(0, "", "-"));
            }
            rows
        });
        Self {
            run,
            rows: rows.collect(),
            at: 0,
            held: false,
            state: RunState::Running,
            started_ms: now_ms,
            ended_ms: None,
        }
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Stopping)
    }

    /// Takes in how it goes; news of another run change nothing.
    pub(crate) fn take(&mut self, news: VerifyNews, now_ms: u64) {
        if news.run != self.run {
            return;
        }
        match news.what {
            News::Progress(node, progress) => self.progress(&node, progress),
            News::Failed(node, why) => {
                let open = |row: &&mut Checked| row.node == node && !row.is_over();
                for row in self.rows.iter_mut().filter(open) {
                    row.state = CheckState::Failed(why.clone());
                }
            }
            News::Ended => {
                let stopped = self.state == RunState::Stopping;
                self.state = match stopped {
                    true => RunState::Stopped,
                    false => RunState::Done,
                };
                self.ended_ms = Some(now_ms);
                for row in self.rows.iter_mut().filter(|row| !row.is_over()) {
                    row.state = CheckState::Stopped;
                }
            }
        }
        if !self.held {
            self.follow();
        }
    }

    fn progress(&mut self, node: &NodeId, progress: Progress) {
        let index = match &progress {
            Progress::Begun(index) | Progress::Step(index, _) | Progress::Ended(index, _) => *index,
        };
        let mut rows = self.rows.iter_mut();
        let Some(row) = rows.find(|row| row.node == *node && row.index == index) else {
            return;
        };
        match progress {
            Progress::Begun(_) => row.state = CheckState::Running,
            Progress::Step(_, step) => row.steps.push(step),
            Progress::Ended(_, verified) => row.state = CheckState::Ended(Box::new(verified)),
        }
    }

    /// Until the operator chooses a row, the first that failed is shown, else the first under way.
    fn follow(&mut self) {
        let find = |which: fn(&Checked) -> bool| self.rows.iter().position(which);
        let running = |row: &Checked| row.state == CheckState::Running;
        let shown = find(Checked::is_bad).or_else(|| find(running));
        self.at = shown.unwrap_or(self.at);
    }

    /// Moves to another row.
    pub(crate) fn move_by(&mut self, rows: isize) {
        self.held = true;
        let last = self.rows.len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(rows).min(last);
    }

    /// Listeners whose checks came to an end, those that failed, and all.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let count = |which: fn(&Checked) -> bool| self.rows.iter().filter(|r| which(r)).count();
        (
            count(|row| row.is_over() && row.state != CheckState::Stopped),
            count(Checked::is_bad),
            self.rows.len(),
        )
    }
}

/// Checks the nodes and tells how it goes, until all is done or stopped.
pub(crate) async fn run(
    api: Arc<dyn AdminApi>,
    job: VerifyJob,
    to: Sender<Message>,
    stop: CancellationToken,
) {
    let options = CheckOptions {
        // Listeners are checked by their addresses, which stand in no certificate.
        tls: TlsOptions {
            insecure: true,
            ..TlsOptions::default()
        },
        stop,
        ..CheckOptions::default()
    };
    let number = job.run;
    let news = |what| Message::Verified(Box::new(VerifyNews { run: number, what }));
    // Steps are told from where nothing may wait.
    let (tell, mut told) = mpsc::unbounded_channel();
    let checking = check_all(api, job, options, tell);
    let telling = async {
        while let Some(what) = told.recv().await {
            // A closed channel means that the console has left.
            let _ = to.send(news(what)).await;
        }
    };
    tokio::join!(checking, telling);
    let _ = to.send(news(News::Ended)).await;
}

async fn check_all(
    api: Arc<dyn AdminApi>,
    job: VerifyJob,
    options: CheckOptions,
    tell: UnboundedSender<News>,
) {
    let VerifyJob { nodes, realm, .. } = job;
    let checks = nodes.into_iter().map(|node| {
        let (api, realm) = (Arc::clone(&api), realm.clone());
        check_one(api, node, realm, options.clone(), tell.clone())
    });
    let mut checks = futures_util::stream::iter(checks).buffer_unordered(AT_ONCE);
    while checks.next().await.is_some() {}
}

async fn check_one(
    api: Arc<dyn AdminApi>,
    node: NodeView,
    realm: Option<Realm>,
    options: CheckOptions,
    tell: UnboundedSender<News>,
) {
    if options.stop.is_cancelled() {
        return;
    }
    // Nobody listens to a console that has left.
    let say = |what| drop(tell.send(what));
    let mut told = |progress| say(News::Progress(node.id.clone(), progress));
    let checked = verify(api.as_ref(), &node, realm.as_ref(), &options, &mut told).await;
    if let Err(error) = checked {
        say(News::Failed(node.id.clone(), error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::client::fake::FakeAdmin;
    use crate::turn::check::{Stage, Verdict};

    /// Runs a job to its end, or has it stopped by whoever gets the news.
    async fn news_of(job: VerifyJob, stop_at: Option<fn(&News) -> bool>) -> Vec<News> {
        let api = Arc::new(FakeAdmin::with_sessions(1));
        let stop = CancellationToken::new();
        let (to, mut from) = mpsc::channel(1);
        let task = tokio::spawn(run(api, job, to, stop.clone()));
        let mut all = Vec::new();
        while let Some(Message::Verified(news)) = from.recv().await {
            if stop_at.is_some_and(|at| at(&news.what)) {
                stop.cancel();
            }
            all.push(news.what);
        }
        task.await.unwrap();
        all
    }

    fn node(id: &str, urls: &[String]) -> NodeView {
        let api = FakeAdmin::with_sessions(1);
        let fra1 = "fra1".parse().unwrap();
        let mut node = api.node(&fra1).now_or_never().unwrap().unwrap();
        node.id = id.parse().unwrap();
        node.urls = urls.to_vec();
        node
    }

    fn job(nodes: Vec<NodeView>) -> VerifyJob {
        VerifyJob {
            run: 7,
            nodes,
            realm: Some("acme".parse().unwrap()),
        }
    }

    #[tokio::test]
    async fn steps_are_told_as_they_end_and_the_failed_one_is_explained() {
        // A port on which nothing listens any more: the kernel says so at once.
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let url = format!("turn:127.0.0.1:{port}?transport=tcp");
        let nodes = vec![node("fra1", &[url]), node("bare", &[])];
        let mut dialog = VerifyDialog::new(7, &nodes, 0);
        for what in news_of(job(nodes), None).await {
            dialog.take(VerifyNews { run: 7, what }, 9);
        }
        assert_eq!(dialog.state, RunState::Done);
        assert_eq!(dialog.counts(), (2, 2, 2));
        let row = &dialog.rows[0];
        let steps: Vec<_> = row.steps.iter().map(|step| step.step).collect();
        assert_eq!(steps, [Stage::Resolve, Stage::Connect]);
        let failed = row.failed_step().unwrap();
        let remedy = failed.remedy.as_deref().unwrap();
        assert!(
            remedy.contains("nothing listens on that TCP port"),
            "{remedy}"
        );
        let CheckState::Ended(bare) = &dialog.rows[1].state else {
            panic!("{:?}", dialog.rows[1].state);
        };
        assert!(bare.text.contains("no listeners"), "{}", bare.text);
    }

    #[tokio::test]
    async fn a_stopped_run_ends_although_nothing_answers() {
        // Takes datagrams and answers none.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let url = format!("turn:{address}?transport=udp");
        let nodes = vec![node("fra1", &[url.clone(), url])];
        let mut dialog = VerifyDialog::new(7, &nodes, 0);
        dialog.state = RunState::Stopping;
        let begun: fn(&News) -> bool = |news| matches!(news, News::Progress(_, Progress::Begun(_)));
        for what in news_of(job(nodes), Some(begun)).await {
            dialog.take(VerifyNews { run: 7, what }, 9);
        }
        assert_eq!(dialog.state, RunState::Stopped);
        let states: Vec<_> = dialog.rows.iter().map(|row| &row.state).collect();
        assert_eq!(states, [&CheckState::Stopped, &CheckState::Stopped]);
        // It did not wait for the answer that never comes.
        let asked = |step: &Step| step.step >= Stage::Binding;
        assert!(!dialog.rows[0].steps.iter().any(asked));
    }

    #[test]
    fn news_of_an_older_run_change_nothing() {
        let nodes = [node("fra1", &["turn:192.0.2.1:3478".to_owned()])];
        let mut dialog = VerifyDialog::new(8, &nodes, 0);
        let failed = News::Failed(nodes[0].id.clone(), "late".to_owned());
        dialog.take(
            VerifyNews {
                run: 7,
                what: failed,
            },
            9,
        );
        dialog.take(
            VerifyNews {
                run: 7,
                what: News::Ended,
            },
            9,
        );
        assert!(dialog.runs() && dialog.counts().0 == 0);
        assert_eq!(Verdict::Stopped.exit_code(), 130);
    }
}
