//! The API over real sockets, before a real control plane on SQLite.

mod api;
mod openapi;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{AdminConfig, Args, Config};
use crate::control::{
    ClusterKey, ControlHandle, ControlParts, NoWorkers, Restoring, Service, WorkerSide, prepare,
};
use crate::store::sqlite::SqliteStore;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that serves the API.
struct Gateway {
    dir: TempDir,
    tcp: SocketAddr,
    service: Service,
    cancel: CancellationToken,
    serving: JoinHandle<()>,
    control: ControlHandle,
    /// Keeps the workers' side open.
    _news: mpsc::Sender<(shared::WorkerId, crate::worker::WorkerNews)>,
}

impl Gateway {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().display();
        let environment = BTreeMap::new();
        let arguments = ["relayd", "--gateway", &format!("--state-dir={state}")].map(String::from);
        let config = Config::load(&Args::new(arguments, environment).unwrap()).unwrap();
        let admin = AdminConfig {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            ..config.admin.clone()
        };
        let path = |name: &str| dir.path().join(name);
        let store = SqliteStore::open(&path("turndb"), &path("relayd.db")).unwrap();
        let prepared = prepare(ControlParts {
            config: Arc::new(config),
            node: "g1".parse().unwrap(),
            elder_of: None,
            can_pass_on: false,
            session_base: 7,
            store: Arc::new(store),
            statsdb: None,
            cluster_key: ClusterKey::new(vec![7; 32]),
            listeners: Vec::new(),
            urls: Vec::new(),
            listener_realms: HashMap::new(),
            relays: Vec::new(),
            services: Vec::new(),
            certificates: Vec::new(),
            log: None,
        })
        .await;
        let cancel = CancellationToken::new();
        let (sender, news) = mpsc::channel(8);
        let control = prepared.run(
            WorkerSide {
                workers: Arc::new(NoWorkers::default()),
                news,
                restoring: Restoring::default(),
            },
            cancel.clone(),
        );
        control.serving();
        let bound = super::bind(&admin, &crate::succession::Inherited::default())
            .await
            .unwrap();
        let tcp = bound.tcp_address().unwrap();
        let service = control.service();
        let serving = tokio::spawn(bound.serve(service.clone(), cancel.clone()));
        Self {
            dir,
            tcp,
            service,
            cancel,
            serving,
            control,
            _news: sender,
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("relayd.sock")
    }

    /// A call over the Unix socket.
    async fn local(&self, request: Request<'_>) -> Reply {
        request
            .send(UnixStream::connect(self.socket()).await.unwrap())
            .await
    }

    /// A call over TCP.
    async fn remote(&self, request: Request<'_>) -> Reply {
        request
            .send(TcpStream::connect(self.tcp).await.unwrap())
            .await
    }

    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.serving)
            .await
            .unwrap()
            .unwrap();
        self.control.stopped().await;
    }
}

/// A request.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn get(path: &'a str) -> Self {
        Self::new("GET", path)
    }

    fn header(mut self, name: &'a str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    fn token(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    async fn send(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Reply {
        stream.write_all(&self.head("close")).await.unwrap();
        // A refusal may come, and the connection go, before all of a large body was taken.
        let _ = stream.write_all(&self.body).await;
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        let _ = tokio::time::timeout(PATIENCE, read).await.unwrap();
        Reply::parse(&bytes)
    }

    fn head(&self, connection: &str) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Length: {}\r\n",
            self.method,
            self.path,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that it is an error of that status and kind; its message.
    #[track_caller]
    fn error(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        assert_eq!(json["error"], kind, "{self:?}");
        json["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.json()
    }
}
