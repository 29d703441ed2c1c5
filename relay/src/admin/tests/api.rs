//! Calls, callers and their errors.

use serde_json::json;

use super::*;

async fn token(gateway: &Gateway, role: &str) -> String {
    let request = Request::new("POST", "/v1/tokens").json(&json!({"role": role, "label": "t"}));
    let reply = gateway.local(request).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()["token"].as_str().unwrap().to_owned()
}

async fn make_realm(gateway: &Gateway) {
    let request = Request::new("PUT", "/v1/realms/north.gov").header("If-Match", 0);
    let document = json!({"document": {"max_sessions": 10}, "reason": "test"});
    let view = gateway.local(request.json(&document)).await.ok();
    assert_eq!(view["revision"], 1);
}

#[tokio::test]
async fn the_socket_knows_the_user_and_makes_it_an_admin() {
    let gateway = Gateway::start().await;
    let who = gateway.local(Request::get("/v1/whoami")).await.ok();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    assert_eq!(who["actor"], format!("unix:{uid}"));
    assert_eq!(who["role"], "admin");
    assert_eq!(who["node"], "g1");
    let socket = gateway.socket();
    gateway.stop().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn every_failure_is_an_error_in_json_with_its_status() {
    let gateway = Gateway::start().await;
    let reply = gateway
        .local(Request::get(
            "/v1/nothing/\u{1b}[2J".replace('\u{1b}', "%1B").as_str(),
        ))
        .await;
    reply.error(404, "not_found");
    gateway
        .local(Request::get("/"))
        .await
        .error(404, "not_found");
    gateway
        .local(Request::new("POST", "/v1/overview"))
        .await
        .error(405, "bad_request");
    gateway
        .local(Request::get("/v1/sessions?limit=many"))
        .await
        .error(400, "bad_request");
    gateway
        .local(Request::get("/v1/nodes/a%20b"))
        .await
        .error(400, "bad_request");
    gateway
        .local(Request::get("/v1/nodes/nobody"))
        .await
        .error(404, "not_found");
    gateway
        .local(Request::get("/v1/sessions/0123456789abcdef"))
        .await
        .error(404, "not_found");
    gateway.stop().await;
}

#[tokio::test]
async fn broken_bodies_and_missing_revisions_are_bad_requests() {
    let gateway = Gateway::start().await;
    let put = |path| Request::new("PUT", path);
    let mut broken = put("/v1/realms/north.gov/users/alice");
    broken.body = b"{\"password\": ".to_vec();
    gateway.local(broken).await.error(400, "bad_request");
    let no_revision = put("/v1/realms/north.gov").json(&json!({"document": {}}));
    let message = gateway.local(no_revision).await.error(400, "bad_request");
    assert!(message.contains("If-Match"), "{message}");
    let reply = gateway.local(Request::get("/v1/whoami")).await;
    assert!(reply.head.contains("cache-control: no-store"), "{reply:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_above_one_mebibyte_is_refused() {
    let gateway = Gateway::start().await;
    let mut request = Request::new("PUT", "/v1/realms/north.gov/users/alice");
    request.body = vec![b' '; (1 << 20) + 1];
    gateway.local(request).await.error(413, "bad_request");
    gateway.stop().await;
}

#[tokio::test]
async fn a_lost_compare_and_set_answers_412_with_the_other_revision() {
    let gateway = Gateway::start().await;
    make_realm(&gateway).await;
    let request = Request::new("PUT", "/v1/realms/north.gov").header("If-Match", "\"9\"");
    let reply = gateway.local(request.json(&json!({"document": {}}))).await;
    reply.error(412, "revision_conflict");
    assert_eq!(reply.json()["current_revision"], 1);
    gateway.stop().await;
}

#[tokio::test]
async fn hostile_names_in_paths_are_names_and_nothing_else() {
    let gateway = Gateway::start().await;
    make_realm(&gateway).await;
    let path = "/v1/realms/north.gov/users/..%20b%3Fc%23d%25%E2%98%83";
    let request = Request::new("PUT", path).json(&json!({"password": "wonderland"}));
    let view = gateway.local(request).await.ok();
    assert_eq!(view["name"], ".. b?c#d%\u{2603}");
    assert_eq!(gateway.local(Request::get(path)).await.ok()["stored"], true);
    let deleted = gateway
        .local(Request::new("DELETE", &format!("{path}?reason=x")))
        .await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    gateway
        .local(Request::get(path))
        .await
        .error(404, "not_found");
    // A slash is part of the name, never of the path; coturn's keys could not hold it.
    let slash = Request::new("PUT", "/v1/realms/north.gov/users/a%2F..%2Fb%1B");
    let reply = gateway
        .local(slash.json(&json!({"password": "wonderland"})))
        .await;
    let message = reply.error(400, "bad_request");
    assert!(!message.contains('\u{1b}'), "{message:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn tcp_wants_a_token_and_gives_it_its_role() {
    let gateway = Gateway::start().await;
    let reply = gateway.remote(Request::get("/v1/overview")).await;
    reply.error(401, "unauthenticated");
    assert!(reply.head.contains("www-authenticate: bearer"), "{reply:?}");
    gateway
        .remote(Request::get("/nothing"))
        .await
        .error(401, "unauthenticated");
    let wrong = Request::get("/v1/overview").token("relayd_000000000000_wrong");
    gateway.remote(wrong).await.error(401, "unauthenticated");

    let viewer = token(&gateway, "viewer").await;
    gateway
        .remote(Request::get("/v1/overview").token(&viewer))
        .await
        .ok();
    let put = Request::new("PUT", "/v1/realms/north.gov/users/alice").token(&viewer);
    gateway
        .remote(put.json(&json!({"password": "wonderland"})))
        .await
        .error(403, "denied");

    let id = viewer.split('_').nth(1).unwrap().to_owned();
    let deleted = gateway
        .local(Request::new("DELETE", &format!("/v1/tokens/{id}")))
        .await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let again = Request::get("/v1/overview").token(&viewer);
    gateway.remote(again).await.error(401, "unauthenticated");
    gateway.stop().await;
}

#[tokio::test]
async fn an_address_with_too_many_wrong_tokens_waits_and_the_socket_does_not() {
    let gateway = Gateway::start().await;
    let good = token(&gateway, "viewer").await;
    for _ in 0..5 {
        let wrong = Request::get("/v1/whoami").token("relayd_000000000000_wrong");
        gateway.remote(wrong).await.error(401, "unauthenticated");
    }
    let reply = gateway
        .remote(Request::get("/v1/whoami").token(&good))
        .await;
    assert!(
        reply.error(401, "unauthenticated").contains("wait"),
        "{reply:?}"
    );
    gateway.local(Request::get("/v1/whoami")).await.ok();
    gateway.stop().await;
}

#[tokio::test]
async fn refused_calls_are_audited_with_their_caller() {
    let gateway = Gateway::start().await;
    let viewer = token(&gateway, "viewer").await;
    let put = Request::new("PUT", "/v1/realms/north.gov/users/alice").token(&viewer);
    gateway
        .remote(put.json(&json!({"password": "wonderland"})))
        .await
        .error(403, "denied");
    let actor = format!("token:{}", viewer.split('_').nth(1).unwrap());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let audit = gateway.local(Request::get("/v1/audit")).await.ok();
        assert!(!audit.to_string().contains("wonderland"));
        if audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["actor"] == actor)
        {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{audit}");
        tokio::task::yield_now().await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_stream_tells_what_happens_and_ends_with_the_node() {
    let gateway = Gateway::start().await;
    let mut stream = UnixStream::connect(gateway.socket()).await.unwrap();
    let request = Request::get("/v1/events/stream");
    stream.write_all(&request.head("keep-alive")).await.unwrap();
    let mut text = String::new();
    let mut read_until = async |needle: &str| {
        while !text.contains(needle) {
            let mut bytes = [0; 4096];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await;
            let count = read.unwrap().unwrap();
            assert_ne!(count, 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        text.clone()
    };
    read_until("text/event-stream").await;
    make_realm(&gateway).await;
    let text = read_until("realm-changed").await;
    assert!(text.contains("\nid:") || text.contains("\nid: "), "{text}");
    gateway.stop().await;
    // The chunk of length zero: the end of the answer.
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap();
}
