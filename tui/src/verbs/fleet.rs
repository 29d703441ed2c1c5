//! Verbs for nodes, redirects, networks and keys of access tokens.

use shared::api::DrainRequest;

use super::{Forms, Verb, done, forms};
use crate::client::AdminApi as _;

pub(super) fn drains(verb: Verb) -> Forms {
    match verb {
        Verb::Drain => forms(
            "node.drain",
            ":nodes node=lon1<enter>D<tab><tab>kernel<tab>30m<tab> <tab>y",
            &[
                "node",
                "drain",
                "lon1",
                "--deadline",
                "30m",
                "--refuse-refresh",
                "--reason",
                "kernel",
            ],
        ),
        Verb::Upgrade => forms(
            "node.upgrade",
            ":upgrade lon1<enter><tab><tab>release<tab>y",
            &["node", "upgrade", "lon1", "--reason", "release"],
        ),
        _ => Forms {
            before: |api| {
                let lon1 = "lon1".parse().unwrap();
                done(api.drain_node(&lon1, &DrainRequest::default()));
            },
            ..forms(
                "node.undrain",
                ":nodes node=lon1<enter>D<tab><tab>ready<tab>y",
                &["node", "undrain", "lon1", "--reason", "ready"],
            )
        },
    }
}

pub(super) fn fleet(verb: Verb) -> Forms {
    match verb {
        Verb::SetAlertRule => forms(
            "alert.rule.set",
            ":rules<enter>E<clear>70<tab><clear><tab><clear>1m<tab><tab><tab>noise<tab>y",
            &[
                "alert",
                "set",
                "node-capacity",
                "--warn",
                "70",
                "--crit",
                "none",
                "--for",
                "1m",
                "--reason",
                "noise",
            ],
        ),
        Verb::AddRedirect => forms(
            "redirect.create",
            ":redirects<enter>N<clear>tls<tab>192.0.2.9:5349<tab>turn.example.org<tab><clear>ams1\
             <tab><tab>spill<tab>full<tab>y",
            &[
                "redirect",
                "add",
                "-t",
                "tls",
                "192.0.2.9:5349",
                "--domain",
                "turn.example.org",
                "-n",
                "ams1",
                "-w",
                "1",
                "--note",
                "spill",
                "--reason",
                "full",
            ],
        ),
        _ => forms(
            "redirect.delete",
            ":redirects<enter>X<backtab>empty<tab>y",
            &["redirect", "remove", "00c0ffee", "--reason", "empty"],
        ),
    }
}

pub(super) fn bans(verb: Verb) -> Forms {
    match verb {
        Verb::AddBan => forms(
            "ban.create",
            ":bans<enter>N203.0.113.0/24<tab><clear>client<tab><clear>2h<tab>flood<tab>yy",
            &[
                "ban",
                "add",
                "203.0.113.0/24",
                "--for",
                "2h",
                "--reason",
                "flood",
            ],
        ),
        _ => forms(
            "ban.delete",
            ":bans<enter>Z<backtab>over<tab>y",
            &["ban", "rm", "198.51.100.0/24", "--reason", "over"],
        ),
    }
}

pub(super) fn oauth_keys(verb: Verb) -> Forms {
    match verb {
        Verb::AddOauthKey => forms(
            "oauth_key.put",
            ":oauth-keys<enter>Nsouth<tab><clear>A128GCM<tab>globex<tab>90d<tab><tab>yearly<tab>y",
            &[
                "oauth",
                "key",
                "add",
                "south",
                "--algorithm",
                "A128GCM",
                "--realm",
                "globex",
                "--ttl",
                "90d",
                "--reason",
                "yearly",
            ],
        ),
        _ => forms(
            "oauth_key.delete",
            ":oauth-keys<enter>Z<backtab>leaked<tab>y",
            &["oauth", "key", "delete", "north", "--reason", "leaked"],
        ),
    }
}
