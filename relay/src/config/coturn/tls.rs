//! `cert` and `pkey`: what TLS and DTLS clients are shown.

use std::path::Path;

use super::ciphers;
use super::given::locate;
use super::translation::Translation;
use crate::certificate::Pair;
use crate::config::TlsFiles;
use crate::config::error::Origin;
use crate::config::file::Value;

/// What coturn takes where nothing is said.
const CERTIFICATE: &str = "turn_server_cert.pem";
const KEY: &str = "turn_server_pkey.pem";

/// Whether there is a certificate that can be served.
pub(super) fn translate(all: &mut Translation<'_>) -> bool {
    ciphers::translate(all);
    let certificate = all.text("cert");
    let key = all.text("pkey");
    let name_of = |given: Option<(&str, &Origin)>, default: &str| {
        given.map_or_else(|| default.to_owned(), |(name, _)| name.to_owned())
    };
    let names = (name_of(certificate, CERTIFICATE), name_of(key, KEY));
    let is_unwanted = all.is_on("no-tls") && all.is_on("no-dtls");
    let origin = certificate
        .or(key)
        .map_or(&Origin::Default, |(_, origin)| origin);
    let found = (locate(Path::new(&names.0)), locate(Path::new(&names.1)));
    let problem = match found {
        (None, _) => format!("{} is not there", shared::display_safe(&names.0)),
        (_, None) => format!("{} is not there", shared::display_safe(&names.1)),
        (Some(certificate), Some(key)) => {
            let files = TlsFiles { certificate, key };
            match Pair::load(&files) {
                Ok(_) => {
                    let text = |path: &Path| Value::Text(path.to_string_lossy().into_owned());
                    all.set("tls.certificate", origin, text(&files.certificate));
                    all.set("tls.key", origin, text(&files.key));
                    return true;
                }
                Err(error) => error.to_string(),
            }
        }
    };
    if !is_unwanted {
        all.tell_all(format!(
            "{origin}: cert: {problem}: TLS and DTLS are not served until cert and pkey name a chain and its \
             key in PEM, and relayd starts again"
        ));
    }
    false
}
