//! Pages of sessions: on one node without HTTP, and of the cluster over the admin API.

use std::path::Path;
use std::time::Instant;

use relay::control::Service;
use relayctl::client::{Address, AdminApi, ConnectOptions, HttpAdmin};
use shared::api::ListQuery;

use super::{Figure, Samples};
use crate::fake::admin;

/// Rows of a page, as the console asks for them.
const ROWS: u32 = 100;
/// Calls per figure.
const CALLS: usize = 40;

/// A question: its name, filter and order.
type Question = (&'static str, &'static str, &'static str);

const QUESTIONS: [Question; 8] = [
    ("no filter, by id", "", "id"),
    ("no filter, by rate", "", "rate:desc"),
    ("no filter, by user", "", "user"),
    ("no filter, by client", "", "client"),
    (
        "rate>2M transport=udp, by rate",
        "rate>2M transport=udp|tls",
        "rate:desc",
    ),
    (
        "user~bot !realm=acme0.example, by age",
        "user~bot !realm=acme0.example",
        "age:desc",
    ),
    ("a word, by rate", "bot-01", "rate:desc"),
    ("peer=172.1.0.0/16, by user", "peer=172.1.0.0/16", "user"),
];

fn query(filter: &str, sort: &str) -> ListQuery {
    ListQuery {
        filter: Some(filter.to_owned()).filter(|text| !text.is_empty()),
        sort: Some(sort.to_owned()),
        limit: Some(ROWS),
        ..ListQuery::default()
    }
}

/// Filter and top page on one node.
///
/// # Errors
/// What a call answers.
pub async fn on_a_node(service: &Service, target: Option<f64>) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, filter, sort) in QUESTIONS {
        let query = query(filter, sort);
        let mut samples = Samples::default();
        for _ in 0..CALLS {
            let start = Instant::now();
            service.sessions(&admin(), &query).await?;
            samples.add(start.elapsed());
        }
        let what = format!("node, top page, {name}, p95");
        figures.push(Figure::millis(what, samples.percentile(95), target));
    }
    Ok(figures)
}

/// Pages over the admin API.
///
/// # Errors
/// What a call answers.
pub async fn of_the_cluster(socket: &Path, target: Option<f64>) -> anyhow::Result<Vec<Figure>> {
    let address = Address::Unix(socket.to_owned());
    let api = HttpAdmin::new(address, ConnectOptions::default())?;
    let mut figures = Vec::new();
    for (name, filter, sort) in QUESTIONS {
        let first = query(filter, sort);
        let (mut firsts, mut seconds) = (Samples::default(), Samples::default());
        for _ in 0..CALLS {
            let start = Instant::now();
            let page = api.sessions(&first).await?;
            firsts.add(start.elapsed());
            anyhow::ensure!(page.missing.is_empty(), "{:?}", page.missing);
            if page.next.is_none() {
                continue;
            }
            let next = ListQuery {
                cursor: page.next,
                ..first.clone()
            };
            let start = Instant::now();
            api.sessions(&next).await?;
            seconds.add(start.elapsed());
        }
        let what = format!("cluster, first page, {name}, p95");
        figures.push(Figure::millis(what, firsts.percentile(95), target));
        let what = format!("cluster, next page, {name}, p95");
        figures.push(Figure::millis(what, seconds.percentile(95), target));
    }
    Ok(figures)
}
