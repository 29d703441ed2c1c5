use super::*;

const FILE: &str = r#"
current = "local"
theme = "mine"

[contexts.local]
address = "unix:/run/relayd/relayd.sock"

[contexts.prod]
address = "https://fra1.example.org:5766"
token = "hunter2"
rw = true
confirm = "type"
"#;

fn write(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relayctl.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

fn nothing(_: &str) -> Option<OsString> {
    None
}

#[test]
fn the_name_given_wins_then_the_environment_then_the_file() {
    let (_directory, path) = write(FILE, 0o600);
    let contexts = Contexts::load(&path).unwrap();
    let env = |name: &str| (name == "RELAYCTL_ADDRESS").then(|| "http://127.0.0.1:1".into());
    let address =
        |named, env: Environment<'_>| contexts.resolve(named, env).unwrap().address.to_string();
    assert_eq!(address(Some("prod"), &env), "https://fra1.example.org:5766");
    assert_eq!(address(Some("unix:/x"), &env), "unix:/x");
    assert_eq!(address(None, &env), "http://127.0.0.1:1");
    assert_eq!(address(None, &nothing), "unix:/run/relayd/relayd.sock");
}

#[test]
fn tokens_come_from_the_context_or_the_environment_and_never_show() {
    let (_directory, path) = write(FILE, 0o600);
    let contexts = Contexts::load(&path).unwrap();
    let resolved = contexts.resolve(Some("prod"), &nothing).unwrap();
    assert_eq!(
        resolved.options.token.as_ref().map(|t| t.expose().as_str()),
        Some("hunter2")
    );
    assert!(resolved.rw && resolved.confirm == Confirm::Type);
    assert!(!format!("{contexts:?} {resolved:?}").contains("hunter2"));
    let env = |name: &str| (name == "RELAYCTL_TOKEN").then(|| "other".into());
    let resolved = contexts.resolve(Some("prod"), &env).unwrap();
    assert_eq!(
        resolved.options.token.as_ref().map(|t| t.expose().as_str()),
        Some("other")
    );
}

#[test]
fn a_token_that_others_can_read_is_refused() {
    let (_directory, path) = write(FILE, 0o604);
    assert!(
        Contexts::load(&path)
            .unwrap_err()
            .to_string()
            .contains("chmod 600")
    );
}

#[test]
fn wrong_files_name_the_key_but_never_quote_the_line() {
    for (text, word) in [
        (
            "[contexts.a]\naddress = \"unix:/x\"\ntokn = \"hunter2\"",
            "tokn",
        ),
        ("[contexts.a]\ntoken = \"hunter2\"", "address"),
        ("current = 3", "current"),
        ("token = \"hunter2", "quote"),
    ] {
        let (_directory, path) = write(text, 0o600);
        let error = Contexts::load(&path).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains(word) || word == "quote", "{error}");
    }
}

#[test]
fn an_unknown_context_names_the_nearest() {
    let (_directory, path) = write(FILE, 0o600);
    let contexts = Contexts::load(&path).unwrap();
    let error = contexts
        .resolve(Some("prd"), &nothing)
        .unwrap_err()
        .to_string();
    assert!(error.contains("did you mean 'prod'"), "{error}");
}

#[test]
fn changes_keep_what_is_not_ours_and_the_file_private() {
    let (_directory, path) = write(FILE, 0o600);
    let mut contexts = Contexts::load(&path).unwrap();
    contexts.add("new", Context::new("ssh://fra1")).unwrap();
    contexts.set_current("new").unwrap();
    contexts.remove("local").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("theme = \"mine\"") && text.contains("hunter2"),
        "{text}"
    );
    let contexts = Contexts::load(&path).unwrap();
    assert_eq!(contexts.current.as_deref(), Some("new"));
    assert_eq!(contexts.contexts.len(), 2);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        Contexts::load(Path::new("/nonexistent/x.toml"))
            .unwrap()
            .contexts
            .is_empty()
    );
}

#[test]
fn with_nothing_named_the_usual_sockets_are_tried() {
    let state = tempfile::tempdir().unwrap();
    let env = |name: &str| (name == "XDG_STATE_HOME").then(|| state.path().as_os_str().to_owned());
    let contexts = Contexts::load(Path::new("/nonexistent/x.toml")).unwrap();
    let socket = state.path().join("relayd/relayd.sock");
    assert_eq!(usual_sockets(&env).last(), Some(&socket));
    if SYSTEM_SOCKETS.iter().any(|path| Path::new(path).exists()) {
        return;
    }
    assert!(matches!(
        contexts.resolve(None, &env),
        Err(ContextError::Nowhere(_))
    ));
    fs::create_dir(state.path().join("relayd")).unwrap();
    fs::write(&socket, "").unwrap();
    assert_eq!(
        contexts.resolve(None, &env).unwrap().address,
        Address::Unix(socket)
    );
}
