//! `[tls]`, and the pair of the admin API: certificates with their keys.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::TlsFiles;
use super::error::Origin;
use super::source::Reader;
use crate::certificate::{CipherSuite, KeyKind, Pair};

const REMEDY: &str = "give a PEM chain and its unencrypted PEM key";

/// The pairs for TLS and DTLS clients: the first one, and one with an ECDSA key besides it.
pub(super) fn resolve(reader: &mut Reader<'_>) -> (Option<TlsFiles>, Option<TlsFiles>) {
    let first = pair(reader, "tls.certificate", "tls.key");
    let second = pair(reader, "tls.ecdsa_certificate", "tls.ecdsa_key");
    if let (None, Some((files, _))) = (&first, &second) {
        let problem = format!("is missing, and {} is there", files.certificate.display());
        let remedy = "a pair alone is given as tls.certificate and tls.key";
        reader.error(&Origin::Default, "tls.certificate", problem, remedy);
    }
    if let Some((files, Some(found))) = &second
        && found.kind != KeyKind::Ecdsa
    {
        let origin = reader
            .text("tls.ecdsa_certificate")
            .map(|(_, origin)| origin);
        let problem = format!(
            "{} has an {} key",
            files.certificate.display(),
            found.kind.as_str()
        );
        let remedy = "give one with an ECDSA key on P-256 or P-384";
        let origin = origin.unwrap_or(Origin::Default);
        reader.error(&origin, "tls.ecdsa_certificate", problem, remedy);
    }
    if let (Some((_, Some(found))), None) = (&first, &second)
        && !found.serves_dtls()
    {
        reader.warnings.push(format!(
            "tls.certificate: DTLS needs an ECDSA key on P-256 or P-384, and this one is {}: DTLS clients \
             are refused, TLS clients are served; give an ECDSA pair besides it as \
             tls.ecdsa_certificate and tls.ecdsa_key",
            found.kind.as_str()
        ));
    }
    (
        first.map(|(files, _)| files),
        second.map(|(files, _)| files),
    )
}

/// The cipher suites of `tls.ciphers`; `None`: nothing is said.
pub(super) fn ciphers(reader: &mut Reader<'_>) -> Option<Vec<CipherSuite>> {
    reader.find("tls.ciphers")?;
    let names = CipherSuite::ALL.map(CipherSuite::name).join(", ");
    let wanted = format!("{names}; TLS 1.3 has its own");
    let mut suites: Vec<CipherSuite> = reader.parsed_list("tls.ciphers", &wanted);
    suites.sort_unstable();
    suites.dedup();
    Some(suites)
}

/// Two files that come together or not at all, and must fit each other.
pub(super) fn pair(
    reader: &mut Reader<'_>,
    certificate_key: &str,
    key_key: &str,
) -> Option<(TlsFiles, Option<Pair>)> {
    match (reader.text(certificate_key), reader.text(key_key)) {
        (Some((certificate, origin)), Some((key, _))) => {
            let files = TlsFiles {
                certificate: certificate.into(),
                key: key.into(),
            };
            warn_of_readable_key(reader, key_key, &files.key);
            match Pair::load(&files) {
                Ok(pair) => Some((files, Some(pair))),
                Err(error) => {
                    reader.error(&origin, certificate_key, error.to_string(), REMEDY);
                    Some((files, None))
                }
            }
        }
        (Some((_, origin)), None) => {
            reader.error(&origin, key_key, "is missing", "name the key's file");
            None
        }
        (None, Some((_, origin))) => {
            let remedy = "name the certificate's file";
            reader.error(&origin, certificate_key, "is missing", remedy);
            None
        }
        (None, None) => None,
    }
}

/// A group may be let in on purpose, as Debian's ssl-cert is; everybody is a mistake.
fn warn_of_readable_key(reader: &mut Reader<'_>, name: &str, path: &Path) {
    if std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o007 != 0) {
        let path = path.display();
        reader.warnings.push(format!(
            "{name}: {path} is readable by everybody on this machine: chmod 600 {path}"
        ));
    }
}
