//! `cipher-list`: the language of OpenSSL for sets of cipher suites, over the suites that we speak.

use super::translation::{Translation, text};
use crate::certificate::CipherSuite;
use crate::config::file::Value;

/// What a list comes to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chosen {
    suites: Vec<CipherSuite>,
    /// Whether any word stands for one of ours.
    is_known: bool,
    /// Words that stand for none of ours.
    left_out: Vec<String>,
}

/// Words for all that we speak: strong, with ephemeral keys over curves, of TLS 1.2.
const ALL: &[&str] = &[
    "ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "TLSv1.2",
];
/// Words for suites with an RSA certificate; `RSA` alone means the key exchange, which is none of ours.
const RSA: &[&str] = &["aRSA"];
const ECDSA: &[&str] = &["aECDSA", "ECDSA"];
const AES: &[&str] = &["AES", "AESGCM", "FIPS"];

/// Suites of TLS 1.3: served whatever the list says.
const NEWER: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

pub(super) fn translate(all: &mut Translation<'_>) {
    let Some((list, origin)) = all.text_unless_empty("cipher-list") else {
        return;
    };
    let Chosen {
        suites,
        is_known,
        left_out,
    } = chosen(list);
    if !is_known && !left_out.is_empty() {
        all.tell_all(format!(
            "{origin}: cipher-list: relayd has none of {}, so that all of its suites are served: each has ECDHE and \
             GCM or CHACHA20",
            left_out.join(", ")
        ));
        return;
    }
    let names = suites.iter().map(|suite| text(origin, suite.name()));
    all.set("tls.ciphers", origin, Value::List(names.collect()));
    let mut told = Vec::new();
    if !left_out.is_empty() {
        told.push(format!("relayd does not have {}", left_out.join(", ")));
    }
    if suites.is_empty() {
        told.push(
            "no suite of TLS 1.2 is left, and TLS 1.3 alone is served: name one with ECDHE and GCM or CHACHA20, \
             or remove the line"
                .to_owned(),
        );
    } else if !suites.iter().any(|suite| suite.is_ecdsa()) {
        told.push("DTLS 1.2 needs a suite with ECDSA, and is not served".to_owned());
    }
    if !told.is_empty() {
        all.tell_all(format!("{origin}: cipher-list: {}", told.join("; ")));
    }
}

/// Evaluates a list from left to right, as `openssl ciphers` does: a word adds suites, behind `-` it takes
/// them away, behind `!` for good; `+` only moves some to the end, and the order is ours anyway.
fn chosen(list: &str) -> Chosen {
    let mut chosen = Chosen::default();
    let mut killed: Vec<CipherSuite> = Vec::new();
    for word in list.split([':', ',', ';', ' ']) {
        let (operator, word) = match word.split_at_checked(1) {
            Some((operator @ ("-" | "!" | "+"), rest)) => (operator, rest),
            _ => ("", word),
        };
        // @STRENGTH sorts, and what usual levels ask for with @SECLEVEL all of ours have.
        let word = word.split('@').next().unwrap_or_default();
        if word.is_empty() || NEWER.contains(&word) {
            continue;
        }
        let is_meant = |suite: &CipherSuite| word.split('+').all(|tag| has_tag(*suite, tag));
        let meant: Vec<_> = CipherSuite::ALL.into_iter().filter(is_meant).collect();
        match operator {
            "" if meant.is_empty() => chosen
                .left_out
                .push(shared::display_safe(word).into_owned()),
            "" => {
                chosen.is_known = true;
                chosen.suites.extend(meant);
            }
            "+" => {}
            _ => {
                chosen.suites.retain(|suite| !meant.contains(suite));
                if operator == "!" {
                    killed.extend(meant);
                }
            }
        }
    }
    chosen.suites.retain(|suite| !killed.contains(suite));
    chosen.suites.sort_unstable();
    chosen.suites.dedup();
    chosen
}

/// Whether a word of OpenSSL, or its name, stands for this suite among others.
fn has_tag(suite: CipherSuite, tag: &str) -> bool {
    let name = suite.name();
    let is_one_of = |words: &[&str]| words.contains(&tag);
    is_one_of(ALL)
        || tag.parse() == Ok(suite)
        || is_one_of(AES) && name.contains("AES")
        || tag == "AES128" && name.contains("AES128")
        || tag == "AES256" && name.contains("AES256")
        || tag == "CHACHA20" && name.contains("CHACHA20")
        || is_one_of(ECDSA) && suite.is_ecdsa()
        || is_one_of(RSA) && !suite.is_ecdsa()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> String {
        let names = chosen(list).suites.into_iter().map(CipherSuite::name);
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_mean_what_openssl_makes_of_them() {
        let all = names("ALL");
        assert_eq!(all.split(' ').count(), 6);
        for list in [
            "DEFAULT",
            "HIGH:!aNULL:!MD5",
            "ALL:@STRENGTH",
            "ALL@STRENGTH",
            "DEFAULT@SECLEVEL=1",
            "DEFAULT@SECLEVEL=0:!RC4",
            "ECDH+AESGCM:CHACHA20:!3DES",
        ] {
            assert_eq!(names(list), all, "{list}");
        }
        assert_eq!(
            names("ECDHE+AESGCM:!aRSA:-AES256"),
            "ECDHE-ECDSA-AES128-GCM-SHA256"
        );
        assert_eq!(
            names("ALL:!AES:!ECDSA:AES"),
            "ECDHE-RSA-CHACHA20-POLY1305",
            "what ! takes away does not come back"
        );
        assert_eq!(names("ALL:-AES:AES"), all, "what - takes away may");
        assert_eq!(names("AES256+aECDSA"), "ECDHE-ECDSA-AES256-GCM-SHA384");
    }

    #[test]
    fn what_is_not_ours_is_named() {
        let found =
            chosen("ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES256-GCM-SHA384:kRSA+AES,RSA:!RC4");
        assert_eq!(found.suites, [CipherSuite::RsaAes256]);
        assert_eq!(
            found.left_out,
            ["DHE-RSA-AES256-GCM-SHA384", "kRSA+AES", "RSA"]
        );
        let none = chosen("AES256-SHA:RC4-SHA:PROFILE=SYSTEM");
        assert!(none.suites.is_empty() && !none.is_known);
        assert!(chosen("AES:!AES").is_known);
        assert_eq!(chosen("TLS_AES_256_GCM_SHA384"), Chosen::default());
    }
}
