use shared::api::RealmDocument;

use crate::realm_document::{Setting, diff, from_toml, to_toml};

fn set(document: &RealmDocument, text: &str) -> Result<RealmDocument, String> {
    let mut document = document.clone();
    text.parse::<Setting>()?.apply(&mut document)?;
    Ok(document)
}

#[test]
fn settings_are_read_in_operators_units() {
    let default = RealmDocument::default();
    assert_eq!(
        set(&default, "max_sessions=2k").unwrap().max_sessions,
        Some(2000)
    );
    assert_eq!(
        set(&default, "max_rate_bps=2M").unwrap().max_rate_bps,
        Some(2_000_000)
    );
    assert_eq!(
        set(&default, "default_lifetime_secs=10m")
            .unwrap()
            .default_lifetime_secs,
        600
    );
    assert_eq!(
        set(&default, "max_sessions_per_user=none")
            .unwrap()
            .max_sessions_per_user,
        None
    );
    assert_eq!(
        set(&default, "rest_separator=|").unwrap().rest_separator,
        '|'
    );
    let ranges = set(&default, "denied_peers=10.0.0.0/8,192.0.2.7")
        .unwrap()
        .denied_peers;
    assert_eq!(ranges.len(), 2);
}

#[test]
fn wrong_settings_say_why() {
    let default = RealmDocument::default();
    for (text, word) in [
        ("max_session=1", "did you mean 'max_sessions'"),
        ("max_sessions", "max_sessions=100"),
        ("max_sessions=many", "a number"),
        ("max_sessions=99999999999", "max_sessions"),
        ("denied_peers=10.0.0.0/99", "denied_peers"),
        ("rest_separator=::", "rest_separator"),
    ] {
        let error = set(&default, text).unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn a_document_survives_the_editor_unchanged() {
    let mut document = RealmDocument {
        max_sessions: Some(5),
        max_sessions_per_user: None,
        denied_peers: vec!["10.0.0.0/8".parse().unwrap()],
        note: "say \"hi\"\nthere".into(),
        ..RealmDocument::default()
    };
    document
        .extra
        .insert("from_the_future".into(), serde_json::json!({"a": [1, "b"]}));
    let text = to_toml("Realm x", &document).unwrap();
    assert!(text.contains("# max_sessions_per_user = 12"), "{text}");
    assert_eq!(
        from_toml(&text, &document).as_ref(),
        Ok(&document),
        "{text}"
    );
    assert!(diff(&document, &document).is_empty());
}

#[test]
fn edits_are_checked() {
    let base = RealmDocument::default();
    let text = to_toml("Realm x", &base).unwrap();
    let typo = text.replace("rest_separator", "rest_seperator");
    assert!(
        from_toml(&typo, &base)
            .unwrap_err()
            .contains("did you mean 'rest_separator'")
    );
    let zero = text.replace("max_sessions_per_user = 12", "max_sessions_per_user = 0");
    assert!(from_toml(&zero, &base).unwrap_err().contains("at least 1"));
    let more = text.replace("max_sessions_per_user = 12", "max_sessions_per_user = 20");
    let after = from_toml(&more, &base).unwrap();
    assert_eq!(diff(&base, &after), ["max_sessions_per_user: 12 -> 20"]);
}
