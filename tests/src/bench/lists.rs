//! Pages of sessions: on one node without HTTP, and of the cluster over the admin API.

use std::path::Path;
use std::time::Instant;

use relay::control::Service;
use relayctl::client::{Address, AdminApi, ConnectOptions, HttpAdmin};
use shared::api::ListQuery;

use super::{Effort, Figure, Samples};
use crate::fake::admin;

/// Rows of a page, as the console asks for them.
const ROWS: u32 = 100;

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
pub async fn on_a_node(service: &Service, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let target = effort.target(20.0);
    let mut figures = Vec::new();
    for (name, filter, sort) in QUESTIONS {
        let query = query(filter, sort);
        let mut samples = Samples::default();
        for _ in 0..effort.calls {
            let start = Instant::now();
            service.sessions(&admin(), &query).await?;
            samples.add(start.elapsed());
        }
        let what = format!("node, top page, {name}, p50");
        figures.push(Figure::millis(what, samples.percentile(50), target));
        let what = format!("node, top page, {name}, p95");
        figures.push(Figure::millis(what, samples.percentile(95), None));
    }
    Ok(figures)
}

/// Pages over the admin API.
///
/// # Errors
/// What a call answers.
pub async fn of_the_cluster(socket: &Path, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let address = Address::Unix(socket.to_owned());
    let api = HttpAdmin::new(address, ConnectOptions::default())?;
    let target = effort.target(100.0);
    let mut figures = Vec::new();
    let mut silent = 0;
    for (name, filter, sort) in QUESTIONS {
        let first = query(filter, sort);
        let (mut firsts, mut seconds) = (Samples::default(), Samples::default());
        for _ in 0..effort.calls {
            let start = Instant::now();
            let page = api.sessions(&first).await?;
            firsts.add(start.elapsed());
            silent += page.missing.len();
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
        for (page, samples) in [("first", &firsts), ("next", &seconds)] {
            let what = format!("cluster, {page} page, {name}, p50");
            figures.push(Figure::millis(what, samples.percentile(50), target));
            let what = format!("cluster, {page} page, {name}, p95");
            figures.push(Figure::millis(what, samples.percentile(95), None));
        }
    }
    figures.push(Figure {
        what: "answers of nodes that were too late".to_owned(),
        value: silent as f64,
        target: target.map(|_| 1.0),
        unit: "",
    });
    Ok(figures)
}
