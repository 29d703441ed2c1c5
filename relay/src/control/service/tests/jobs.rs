//! Jobs over many sessions.

use super::*;

/// Two nodes with thirty sessions of `bot` each.
async fn two_nodes_of_bots(
    store: &Arc<dyn crate::store::Store>,
    dir: &std::path::Path,
) -> (TestNode, TestNode) {
    let a = TestNode::start("a", 1, store, dir).await;
    let b = TestNode::start("b", 2, store, dir).await;
    for count in 1..=30 {
        a.workers.create(snapshot(a.session(count), "bot", "acme"));
        b.workers.create(snapshot(b.session(count), "bot", "acme"));
    }
    eventually("a sees all", async || {
        a.service
            .sessions(&admin(), &ListQuery::default())
            .await
            .unwrap()
            .total
            == 60
    })
    .await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_kills_what_was_expected_and_blocks_the_users() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (a, b) = two_nodes_of_bots(&store, dir.path()).await;
    let kill = |expected, dry_run| SessionsKill {
        filter: Some("user=bot".into()),
        expected,
        rate: 10_000,
        block_secs: Some(60),
        dry_run,
        ..SessionsKill::default()
    };
    let more = a
        .service
        .start_kill_job(&admin(), kill(59, false))
        .await
        .unwrap_err();
    assert_eq!(more.error, ErrorKind::Conflict);
    let dry = a
        .service
        .start_kill_job(&admin(), kill(60, true))
        .await
        .unwrap();
    assert!(
        dry.items
            .iter()
            .all(|item| item.outcome == ItemOutcome::WouldKill)
    );
    assert_eq!((dry.state, dry.items.len()), (JobState::Done, 60));
    let job = a
        .service
        .start_kill_job(&admin(), kill(60, false))
        .await
        .unwrap();
    eventually("the job is done", async || {
        let job = b.service.job(&admin(), &job.id).await.unwrap();
        job.state == JobState::Done && job.done == 60 && job.failed == 0
    })
    .await;
    let blocks = b
        .service
        .blocks(&admin(), &ListQuery::default())
        .await
        .unwrap();
    assert_eq!(blocks.items[0].user, "bot");
    eventually("b refuses the user", async || {
        !b.workers.policy().unwrap().blocks.is_empty()
    })
    .await;
    a.service
        .delete_block(&admin(), &realm("acme"), "bot", "")
        .await
        .unwrap();
    let request = BlockRequest {
        secs: 60,
        reason: String::new(),
    };
    let empty = a
        .service
        .put_block(&admin(), &realm("acme"), "", request)
        .await
        .unwrap_err();
    assert_eq!(empty.error, ErrorKind::BadRequest);
}
