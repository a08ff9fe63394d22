//! Verifies the certificates that come with records; keeps the checked keys of the committees used last.

use std::sync::Arc;

use dac_bls::{CertificateError, CheckedCertificate, CommitteeKeys, SeatKeyError};
use dac_proto::reason::Reason;
use dac_types::{AggregateAttestation, BatchHeader, Certificate, Committee, Domain};
use parking_lot::Mutex;
use thiserror::Error;

use dac_runtime::workers::{WorkLost, Workers};

/// Committees whose keys are kept: checking 256 keys takes tens of milliseconds.
const COMMITTEES_KEPT: usize = 8;

/// Why a record's certificate is worth nothing.
#[derive(Debug, Error)]
pub enum RecordCertificateError {
    /// It does not verify.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The committee's own keys are no keys: L1 checked them, so this is a fault of ours or of the L1 endpoint.
    #[error(transparent)]
    Keys(#[from] SeatKeyError),
    /// The computation was lost.
    #[error(transparent)]
    Work(#[from] WorkLost),
}

impl RecordCertificateError {
    /// The reason that travels to the caller.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Certificate(_) => Reason::BadCertificate,
            Self::Keys(_) | Self::Work(_) => Reason::Internal,
        }
    }
}

type Kept = (Arc<Committee>, Arc<CommitteeKeys>);

/// Verifies certificates.
#[derive(Debug)]
pub struct CertificateChecker {
    domain: Domain,
    workers: Workers,
    /// The one used last at the end.
    kept: Mutex<Vec<Kept>>,
}

impl CertificateChecker {
    /// Of one domain.
    pub const fn new(domain: Domain, workers: Workers) -> Self {
        Self { domain, workers, kept: Mutex::new(Vec::new()) }
    }

    /// Checks that a quorum of `committee` signed this header.
    pub async fn check(
        &self,
        committee: &Arc<Committee>,
        header: &BatchHeader,
        aggregate: &AggregateAttestation,
    ) -> Result<CheckedCertificate, RecordCertificateError> {
        let (known, committee, domain) = (self.kept(committee), Arc::clone(committee), self.domain);
        let certificate = Certificate { header: header.clone(), aggregate: aggregate.clone() };
        let (keys, checked) = self
            .workers
            .run(move || {
                let keys = match known {
                    Some(keys) => keys,
                    None => Arc::new(CommitteeKeys::new(&committee)?),
                };
                let checked = keys.verify_certificate(&certificate, &domain);
                Ok::<_, SeatKeyError>(((committee, keys), checked))
            })
            .await??;
        self.keep(keys);
        Ok(checked?)
    }

    fn kept(&self, committee: &Arc<Committee>) -> Option<Arc<CommitteeKeys>> {
        let kept = self.kept.lock();
        kept.iter().find(|(of, _)| Arc::ptr_eq(of, committee)).map(|(_, keys)| Arc::clone(keys))
    }

    fn keep(&self, entry: Kept) {
        let mut kept = self.kept.lock();
        kept.retain(|(committee, _)| committee.epoch() != entry.0.epoch());
        if kept.len() >= COMMITTEES_KEPT {
            kept.remove(0);
        }
        kept.push(entry);
    }
}
