//! What a server's certificate says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Below this a certificate is told to end soon: what is renewed in time has more left.
const SOON: Duration = Duration::from_secs(7 * 86_400);
/// Names that are told at most.
const MAX_NAMES: usize = 4;

/// The parts that an operator looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    names: Vec<String>,
    not_after: SystemTime,
}

impl Summary {
    /// Reads a certificate; `None`: it is none that we understand.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let body = certificate.tbs_certificate();
        let alternative = body.get_extension::<SubjectAltName>().ok().flatten();
        let names = alternative.map(|(_, names)| names.0).unwrap_or_default();
        Some(Self {
            names: names.iter().filter_map(name).collect(),
            not_after: SystemTime::UNIX_EPOCH + body.validity().not_after.to_unix_duration(),
        })
    }

    /// The names in one text: foreign text.
    #[must_use]
    pub fn names(&self) -> String {
        let more = self.names.len().saturating_sub(MAX_NAMES);
        let mut text = self.names[..self.names.len() - more].join(", ");
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        if text.is_empty() {
            "no name".to_owned()
        } else {
            text
        }
    }

    /// Names and end, as of `now`.
    #[must_use]
    pub fn describe(&self, now: SystemTime) -> String {
        let end = jiff::Timestamp::try_from(self.not_after);
        let end = end.map_or_else(
            |_| "?".to_owned(),
            |end| end.strftime("%Y-%m-%d").to_string(),
        );
        match self.not_after.duration_since(now) {
            Ok(left) => {
                let days = left.as_secs() / 86_400;
                format!(
                    "certificate for {}, until {end} ({days} days)",
                    self.names()
                )
            }
            Err(_) => format!("certificate for {}, expired on {end}", self.names()),
        }
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after < now
    }

    /// What is doubtful about a certificate that holds today.
    #[must_use]
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let left = self.not_after.duration_since(now).ok()?;
        let days = left.as_secs() / 86_400;
        (left < SOON).then(|| format!("the certificate ends in {days} days: is it renewed?"))
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(|ip| IpAddr::V4(Ipv4Addr::from(ip)));
            let v6 = || <[u8; 16]>::try_from(bytes).map(|ip| IpAddr::V6(Ipv6Addr::from(ip)));
            Some(v4.or_else(|_| v6()).ok()?.to_string())
        }
        _ => None,
    }
}
