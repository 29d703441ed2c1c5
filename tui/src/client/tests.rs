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
