//! Exit codes and the like: what scripts rely on.

use super::*;

#[tokio::test]
async fn exit_codes_tell_scripts_what_happened() {
    let api = FakeAdmin::default();
    assert_eq!(run(&api, &["node", "list"]).await.code, code::OK);
    assert_eq!(
        run(&api, &["node", "show", "nope"]).await.code,
        code::NOT_FOUND
    );
    assert_eq!(
        run(&api, &["session", "show", "zz"]).await.code,
        code::USAGE
    );
    assert_eq!(
        run(&api, &["session", "list", "-f", "rate>x"]).await.code,
        code::USAGE
    );
    assert_eq!(
        run(&api, &["session", "list", "-s", "rate:up"]).await.code,
        code::USAGE
    );
    api.set_role(Role::Viewer);
    assert_eq!(
        run(&api, &["session", "kill", FIRST, "--yes"]).await.code,
        code::DENIED
    );
    api.set_role(Role::Admin);
    api.set_missing(&["ams1"]);
    let ran = run(&api, &["session", "list", "-o", "json"]).await;
    assert_eq!(ran.code, code::PARTIAL);
    assert_eq!(ran.json()["missing"][0]["node"], "ams1");
    assert!(ran.err.contains("ams1 (no answer"), "{}", ran.err);
    assert_eq!(run(&api, &["overview"]).await.code, code::PARTIAL);
    api.set_unreachable(true);
    let ran = run(&api, &["node", "list"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (code::UNREACHABLE, ""));
    api.set_unreachable(false);
    for (kind, expected) in [
        (ErrorKind::Unauthenticated, code::DENIED),
        (ErrorKind::Unconfirmed, code::UNREACHABLE),
        (ErrorKind::Unavailable, code::FAILURE),
        (ErrorKind::CursorExpired, code::FAILURE),
        (ErrorKind::Internal, code::FAILURE),
    ] {
        api.fail_next(ClientError::Api(ApiError::new(kind, "why")));
        assert_eq!(run(&api, &["whoami"]).await.code, expected, "{kind:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let failure = Failure::Io(io::ErrorKind::BrokenPipe.into());
    assert!(failure.is_silent());
    assert_eq!(failure.code(), code::OK);
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}
