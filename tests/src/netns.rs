//! Network namespaces: links, routers and path MTUs of a test's own. They vanish with its process.

use std::process::Command;

/// Set in the process that runs inside.
const INSIDE: &str = "RELAYD_TEST_NETNS";

/// Runs `body` in a network of its own: this test program starts itself again under `unshare`, with
/// nothing but the test called `name` (its path without the crate).
///
/// # Panics
/// When `body` does, or when the system gives no namespaces.
#[track_caller]
pub fn isolated(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let program = std::env::current_exe().expect("a test program has a path");
    // Named namespaces live in a folder that only this mount namespace sees.
    let script = "mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up && \
                  exec \"$0\" --exact \"$1\" --nocapture";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-ec"])
        .arg(script)
        .arg(program)
        .arg(name)
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) is installed");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{name} in a network of its own:\n{text}"
    );
}

/// Runs `ip` with these words.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn ip(words: &str) {
    run("ip", words);
}

/// Sets a kernel parameter in a named namespace.
///
/// # Panics
/// When the kernel refuses.
#[track_caller]
pub fn sysctl(namespace: &str, assignment: &str) {
    run(
        "ip",
        &format!("netns exec {namespace} sysctl -qw {assignment}"),
    );
}

#[track_caller]
fn run(program: &str, words: &str) {
    let output = Command::new(program).args(words.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {stderr}");
}
