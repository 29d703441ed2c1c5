//! The pairs in force, and the files that they come from.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use dimpl::DtlsCertificate;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Stamp;
use super::{CertificateError, KeyKind, Pair};
use crate::config::TlsFiles;
use crate::dtls::Shown;

/// One or more pairs, of different kinds of keys, for one purpose.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<TlsFiles>,
    pairs: ArcSwap<Vec<Pair>>,
    dtls: Shown,
    last: Mutex<Last>,
}

/// The last look at the files.
#[derive(Debug)]
struct Last {
    stamps: Vec<[Option<Stamp>; 2]>,
    problem: Option<String>,
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files are the ones in force.
    Same,
    /// New pairs are in force.
    Exchanged,
    /// The old ones stay, for this reason.
    Refused(String),
}

/// How a pair stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The file of its chain.
    pub file: std::path::PathBuf,
    /// What its key signs with.
    pub kind: KeyKind,
    /// The last second of its life, Unix time.
    pub not_after: u64,
    /// The DNS names that it is for.
    pub names: Vec<String>,
}

impl Certificates {
    /// Reads all pairs.
    ///
    /// # Errors
    /// That of the first pair that cannot be used.
    pub fn load(files: Vec<TlsFiles>) -> Result<Self, CertificateError> {
        let stamps = stamps(&files);
        let pairs = read(&files)?;
        Ok(Self {
            files,
            dtls: Arc::new(ArcSwapOption::new(for_dtls(&pairs))),
            pairs: ArcSwap::from_pointee(pairs),
            last: Mutex::new(Last {
                stamps,
                problem: None,
            }),
        })
    }

    /// Reads the files again where they changed since the last look, and `always` if asked to. What
    /// cannot be used, or is no longer valid while what is in force still is, changes nothing.
    pub fn reload(&self, always: bool, unix: u64) -> Reload {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if !always && stamps == last.stamps {
            return Reload::Same;
        }
        last.stamps = stamps;
        let pairs = match read(&self.files) {
            Ok(pairs) => pairs,
            Err(error) => return refuse(&mut last, error.to_string()),
        };
        let valid = |pairs: &[Pair]| pairs.iter().all(|pair| pair.not_after >= unix);
        let before = self.pairs.load();
        if !valid(&pairs) && valid(&before) {
            return refuse(&mut last, "the new certificate has expired".to_owned());
        }
        last.problem = None;
        let ends = |pairs: &[Pair]| -> Vec<_> {
            let leaf = |pair: &Pair| pair.certified.cert.clone();
            pairs.iter().map(leaf).collect()
        };
        if ends(&pairs) == ends(&before) {
            return Reload::Same;
        }
        self.dtls.store(for_dtls(&pairs));
        self.pairs.store(Arc::new(pairs));
        Reload::Exchanged
    }

    /// Why the files that are there now are not in force.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.problem.clone()
    }

    /// The pairs in force.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        let pairs = self.pairs.load();
        let both = self.files.iter().zip(pairs.iter());
        both.map(|(files, pair)| Standing {
            file: files.certificate.clone(),
            kind: pair.kind,
            not_after: pair.not_after,
            names: pair.names.clone(),
        })
        .collect()
    }

    /// The certificate for DTLS, as long as some key can sign there.
    #[must_use]
    pub fn dtls(&self) -> Shown {
        Arc::clone(&self.dtls)
    }
}

impl ResolvesServerCert for Certificates {
    /// An ECDSA pair before others, as far as the client can verify it.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pairs = self.pairs.load();
        let fits = |pair: &&Pair| {
            let schemes = hello.signature_schemes();
            pair.certified.key.choose_scheme(schemes).is_some()
        };
        let fitting = || pairs.iter().filter(fits);
        let best = fitting().find(|pair| pair.kind == KeyKind::Ecdsa);
        let best = best.or_else(|| fitting().next())?;
        Some(Arc::clone(&best.certified))
    }
}

fn for_dtls(pairs: &[Pair]) -> Option<Arc<DtlsCertificate>> {
    pairs.iter().find_map(|pair| pair.dtls.clone())
}

fn read(files: &[TlsFiles]) -> Result<Vec<Pair>, CertificateError> {
    files.iter().map(Pair::load).collect()
}

fn stamps(files: &[TlsFiles]) -> Vec<[Option<Stamp>; 2]> {
    let both = |files: &TlsFiles| [Stamp::of(&files.certificate), Stamp::of(&files.key)];
    files.iter().map(both).collect()
}

fn refuse(last: &mut Last, problem: String) -> Reload {
    last.problem = Some(problem.clone());
    Reload::Refused(problem)
}
