//! How long pages of sessions take that every node has a part in, over the admin API of one of them.

use std::path::Path;
use std::time::Instant;

use relayctl::client::{Address, AdminApi, ConnectOptions, HttpAdmin};
use serde::{Deserialize, Serialize};
use shared::api::ListQuery;

use crate::bench::Samples;

/// Rows of a page, as the console asks for them.
const ROWS: u32 = 100;

/// What is asked: its name, filter and order.
const QUESTIONS: [(&str, &str, &str); 3] = [
    ("first page, by id", "", "id"),
    ("sorted, by rate", "", "rate:desc"),
    ("filtered, by user", "user~bot rate>1M", "user"),
];

/// What came of one question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// The question.
    pub page: String,
    /// How often it was put.
    pub calls: usize,
    /// Milliseconds that half of the answers took at most.
    pub p50_ms: f64,
    /// Milliseconds that 99 of a hundred took at most.
    pub p99_ms: f64,
    /// Answers of nodes that came after their deadline, per call.
    pub missing: f64,
}

/// Puts each question `calls` times, one after the other.
///
/// # Errors
/// What a call answers.
pub(super) async fn latencies(socket: &Path, calls: usize) -> anyhow::Result<Vec<Latency>> {
    let api = HttpAdmin::new(Address::Unix(socket.to_owned()), ConnectOptions::default())?;
    let mut all = Vec::new();
    for (page, filter, sort) in QUESTIONS {
        let query = ListQuery {
            filter: Some(filter.to_owned()).filter(|text| !text.is_empty()),
            sort: Some(sort.to_owned()),
            limit: Some(ROWS),
            ..ListQuery::default()
        };
        let (mut samples, mut missing) = (Samples::default(), 0);
        for _ in 0..calls {
            let start = Instant::now();
            let answer = api.sessions(&query).await?;
            samples.add(start.elapsed());
            missing += answer.missing.len();
        }
        let millis = |percent| samples.percentile(percent).as_secs_f64() * 1000.0;
        all.push(Latency {
            page: page.to_owned(),
            calls,
            p50_ms: millis(50),
            p99_ms: millis(99),
            missing: missing as f64 / calls.max(1) as f64,
        });
    }
    Ok(all)
}
