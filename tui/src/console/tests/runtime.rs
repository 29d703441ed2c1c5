//! The real loop on a test backend.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use futures_util::StreamExt;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tokio_util::sync::CancellationToken;

use crate::client::fake::FakeAdmin;
use crate::configuration::{Configuration, Looks};
use crate::console::model::Model;
use crate::console::runtime::{Ended, Input, Runtime, unix_ms};
use crate::console::theme::Theme;
use crate::console::{SnapshotOptions, snapshot};

/// Keys that are pressed one after the other, and then silence.
fn keys_after(text: &'static str, end: KeyCode) -> Input {
    let typed = text.chars().map(KeyCode::Char).chain([end]);
    let events = typed.map(|code| Ok(Event::Key(KeyEvent::new(code, KeyModifiers::NONE))));
    Box::pin(futures_util::stream::iter(events).chain(futures_util::stream::pending()))
}

async fn run(input: Input, stop: CancellationToken) -> (io::Result<Ended>, String) {
    let api = Arc::new(FakeAdmin::with_sessions(30));
    let mut model = Model::new("prod-eu", Theme::default(), (80, 24), unix_ms());
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut runtime = Runtime::new(api, None);
    let running = runtime.run(&mut model, &mut terminal, input, &stop);
    let ended = tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .expect("it ends");
    (ended, snapshot::render(&model))
}

#[tokio::test]
async fn keys_reach_the_model_and_q_leaves() {
    let (ended, _) = run(
        keys_after("31", KeyCode::Char('q')),
        CancellationToken::new(),
    )
    .await;
    assert_eq!(ended.unwrap(), Ended::Quit);
}

#[tokio::test]
async fn being_stopped_ends_the_loop() {
    let stop = CancellationToken::new();
    let later = stop.clone();
    let input: Input = Box::pin(
        futures_util::stream::once(async move {
            later.cancel();
            Ok(Event::Resize(80, 24))
        })
        .chain(futures_util::stream::pending()),
    );
    assert_eq!(run(input, stop).await.0.unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn a_terminal_that_ends_or_fails_is_fatal() {
    let gone: Input = Box::pin(futures_util::stream::empty());
    assert!(run(gone, CancellationToken::new()).await.0.is_err());
    let broken: Input = Box::pin(futures_util::stream::iter([Err(io::Error::from(
        io::ErrorKind::BrokenPipe,
    ))]));
    assert!(run(broken, CancellationToken::new()).await.0.is_err());
}

#[tokio::test]
async fn a_snapshot_needs_no_terminal() {
    let api = FakeAdmin::with_sessions(30);
    let configuration = Configuration::default();
    let looks = Looks::new(&configuration, None, false, &|_| None).unwrap();
    let options = SnapshotOptions {
        context: "prod-eu",
        view: "sessions",
        rest: "",
        size: (80, 24),
        color: false,
        configuration: &configuration,
        looks: &looks,
    };
    let text = snapshot(&api, &options).await.unwrap();
    assert!(text.contains("1-18 of 30"), "{text}");
    api.set_unreachable(true);
    assert!(snapshot(&api, &options).await.is_err());
}
