use super::*;

#[test]
fn addresses_parse_and_print() {
    for (text, shown) in [
        (
            "unix:/run/relayd/relayd.sock",
            "unix:/run/relayd/relayd.sock",
        ),
        ("unix:///run/x.sock", "unix:/run/x.sock"),
        (
            "https://fra1.example.org:5766",
            "https://fra1.example.org:5766",
        ),
        ("https://[2001:db8::1]:5766/", "https://[2001:db8::1]:5766"),
        ("http://127.0.0.1:5766", "http://127.0.0.1:5766"),
        ("http://[::1]:5766", "http://[::1]:5766"),
        ("ssh://fra1", "ssh://fra1/var/lib/relayd/relayd.sock"),
        (
            "ssh://ops@fra1:2222/srv/relayd.sock",
            "ssh://ops@fra1:2222/srv/relayd.sock",
        ),
        (
            "ssh://ops@[2001:db8::1]:22",
            "ssh://ops@[2001:db8::1]:22/var/lib/relayd/relayd.sock",
        ),
    ] {
        assert_eq!(
            text.parse::<Address>().map(|a| a.to_string()),
            Ok(shown.to_owned())
        );
    }
}

#[test]
fn dangerous_addresses_are_refused() {
    for text in [
        "",
        "fra1",
        "unix:relative",
        "http://fra1:5766",
        "http://127.0.0.1.example.org",
        "https://user:secret@fra1",
        "https://",
        "https://host:port",
        "https://host:99999",
        "https://host/path",
        "ssh://-oProxyCommand=x",
        "ssh://-l@host",
        "ssh://a b",
        "ssh://host/a:b",
        "ssh://[::1",
        "unix:/a\u{1b}[2J",
    ] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_missing_socket_is_unreachable_and_names_the_reason() {
    let address = "unix:/nonexistent/relayd.sock".parse().unwrap();
    let admin = HttpAdmin::new(address, ConnectOptions::default()).unwrap();
    let error = admin.whoami().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot reach unix:/nonexistent/relayd.sock: No such file or directory (os error 2)"
    );
}

#[test]
fn a_token_never_shows() {
    let options = ConnectOptions {
        token: Some("hunter2".to_owned().into()),
        ..Default::default()
    };
    assert!(!format!("{options:?}").contains("hunter2"));
    let admin = HttpAdmin::new("https://fra1".parse().unwrap(), options).unwrap();
    assert!(!format!("{admin:?}").contains("hunter2"));
}

mod wire {
    //! Real sockets: what is sent, and what answers mean.

    use std::time::Duration;

    use futures_util::StreamExt as _;
    use shared::api::{ErrorKind, ListQuery, RealmDocument, RealmPut};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::mpsc;

    use super::*;

    const WHO: &str = r#"{"actor":"unix:0","role":"admin","realms":[],"node":"fra1","cluster":"c","version":"0.1.0","new":1}"#;

    /// A node that gives these answers, one per connection, and tells what it was asked.
    struct Node {
        admin: HttpAdmin,
        asked: mpsc::UnboundedReceiver<String>,
        _directory: tempfile::TempDir,
    }

    fn node(answers: Vec<String>, options: ConnectOptions) -> Node {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                tell.send(read_request(&mut stream).await).unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            // Keeps the socket open so that a caller without an answer waits.
            std::future::pending::<()>().await;
        });
        let admin = HttpAdmin::new(Address::Unix(path), options).unwrap();
        Node {
            admin,
            asked,
            _directory: directory,
        }
    }

    async fn read_request(stream: &mut UnixStream) -> String {
        let mut request = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            request.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.to_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length: ")
                    .and_then(|n| n.parse::<usize>().ok())
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
    }

    fn answer(status: u16, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    fn quick() -> ConnectOptions {
        ConnectOptions {
            call_timeout: Duration::from_millis(300),
            ..ConnectOptions::default()
        }
    }

    #[tokio::test]
    async fn a_call_sends_path_query_and_token_and_ignores_unknown_fields() {
        let page = r#"{"schema":"nodes/1","as_of_ms":1,"items":[],"matched":0,"total":0}"#;
        let token = Some("relayd_x".to_owned().into());
        let options = ConnectOptions {
            token,
            ..ConnectOptions::default()
        };
        let mut node = node(vec![answer(200, WHO), answer(200, page)], options);
        assert_eq!(node.admin.whoami().await.unwrap().cluster, "c");
        let asked = node.asked.recv().await.unwrap().to_lowercase();
        assert!(asked.starts_with("get /v1/whoami http/1.1"), "{asked}");
        assert!(asked.contains("authorization: bearer relayd_x"), "{asked}");
        let query = ListQuery {
            filter: Some("a b&c".into()),
            limit: Some(3),
            ..Default::default()
        };
        assert!(node.admin.nodes(&query).await.unwrap().missing.is_empty());
        let asked = node.asked.recv().await.unwrap();
        assert!(
            asked.starts_with("GET /v1/nodes?filter=a+b%26c&limit=3 "),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn changes_carry_revision_body_and_reason() {
        let conflict = r#"{"error":"revision_conflict","message":"no","current_revision":9}"#;
        let answers = vec![answer(412, conflict), answer(204, ""), answer(204, "")];
        let mut node = node(answers, ConnectOptions::default());
        let realm = "acme".parse().unwrap();
        let put = RealmPut {
            document: RealmDocument::default(),
            reason: "why".into(),
        };
        let error = node.admin.put_realm(&realm, 7, &put).await.unwrap_err();
        let ClientError::Api(error) = error else {
            panic!("{error}")
        };
        assert_eq!(
            (error.error, error.current_revision),
            (ErrorKind::RevisionConflict, Some(9))
        );
        let asked = node.asked.recv().await.unwrap();
        assert!(asked.to_lowercase().contains("if-match: 7\r\n"), "{asked}");
        assert!(asked.contains(r#""reason":"why""#), "{asked}");
        node.admin.delete_realm(&realm, 7, "x y").await.unwrap();
        let asked = node.asked.recv().await.unwrap();
        assert!(
            asked.starts_with("DELETE /v1/realms/acme?reason=x+y "),
            "{asked}"
        );
        node.admin.delete_user(&realm, "a/b", "").await.unwrap();
        let asked = node.asked.recv().await.unwrap();
        assert!(
            asked.starts_with("DELETE /v1/realms/acme/users/a%2Fb?reason= "),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn silence_garbage_and_foreign_errors_are_told_apart() {
        let answers = vec![
            answer(200, "{}"),
            answer(502, "<html>"),
            answer(404, ""),
            String::new(),
        ];
        let node = node(answers, quick());
        let error = node.admin.whoami().await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol(_)), "{error}");
        let error = node.admin.whoami().await.unwrap_err();
        assert!(error.to_string().contains("502"), "{error}");
        let error = node.admin.whoami().await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Api(e) if e.error == ErrorKind::NotFound),
            "{error}"
        );
        let error = node.admin.whoami().await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        let error = node.admin.whoami().await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let head = "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n";
        let node = node(
            vec![format!("{head}{}", "[".repeat((32 << 20) + 2))],
            ConnectOptions::default(),
        );
        let error = node.admin.whoami().await.unwrap_err();
        assert!(error.to_string().contains("32 MiB"), "{error}");
    }

    #[tokio::test]
    async fn events_stream_until_the_connection_ends_and_resume_by_id() {
        let event =
            r#"{"id":"8","at_ms":1,"node":"fra1","severity":"info","kind":"job","text":"x"}"#;
        let head = "HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        let body = format!(": hi\n\nid: 8\ndata: {event}\n\n");
        let refused = answer(403, r#"{"error":"denied","message":"no"}"#);
        let mut node = node(
            vec![format!("{head}{body}"), refused],
            ConnectOptions::default(),
        );
        let mut stream = node.admin.follow_events(Some("7")).await.unwrap();
        let asked = node.asked.recv().await.unwrap().to_lowercase();
        assert!(asked.starts_with("get /v1/events/stream ") && asked.contains("last-event-id: 7"));
        assert_eq!(stream.next().await.unwrap().unwrap().id, "8");
        assert!(stream.next().await.unwrap().unwrap_err().is_connection());
        assert!(stream.next().await.is_none());
        let Err(error) = node.admin.follow_events(None).await else {
            panic!("it is refused")
        };
        assert!(
            matches!(&error, ClientError::Api(e) if e.error == ErrorKind::Denied),
            "{error}"
        );
    }
}
