//! Verifies certificates: against a committee's keys alone, and against L1.

use dac_bls::{CertificateError, SeatKeyError, TimeError};
use dac_chain::{CertificateLogReader, ChainError, RegistryView};
use dac_types::{BatchDigest, Seat};
use thiserror::Error;

use crate::directory::Directory;
use crate::files::{CertificateFile, CommitteeFile};

/// Why a certificate does not verify, or could not be checked.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The certificate was signed for another chain or registry than the one it is checked against.
    #[error(
        "the certificate is for chain {got_chain}, registry {got_registry}; checked against chain {chain}, registry {registry}"
    )]
    Domain {
        /// The chain that it is checked against.
        chain: u64,
        /// The registry that it is checked against.
        registry: dac_types::Address,
        /// The chain that it was signed for.
        got_chain: u64,
        /// The registry that it was signed for.
        got_registry: dac_types::Address,
    },
    /// The committee file or the registry does not have the certificate's epoch.
    #[error("the certificate is of epoch {epoch}, which {place} does not have")]
    UnknownEpoch {
        /// The certificate's epoch.
        epoch: u64,
        /// Where the epoch was looked for.
        place: &'static str,
    },
    /// A key of the committee is unusable.
    #[error(transparent)]
    Keys(#[from] SeatKeyError),
    /// The certificate is not signed by a quorum of the committee.
    #[error("the certificate does not verify: {0}")]
    Certificate(#[from] CertificateError),
    /// Reading from L1 failed.
    #[error("L1: {0}")]
    Chain(#[from] ChainError),
}

impl VerifyError {
    /// Whether the error shows that the certificate is bad, as opposed to a failure to read L1.
    pub const fn is_verdict(&self) -> bool {
        matches!(self, Self::Domain { .. } | Self::UnknownEpoch { .. } | Self::Certificate(_))
    }
}

/// A certificate that a quorum signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// The seats whose signatures are in the certificate.
    pub signers: Vec<Seat>,
    /// The seats whose signatures are not in it.
    pub absent: Vec<Seat>,
    /// The number of signatures needed.
    pub quorum: u16,
    /// Whether the certificate could be posted at the time of the check.
    pub postable: Result<(), TimeError>,
}

/// What L1 says about a certificate that verifies.
#[derive(Debug)]
pub struct L1Verdict {
    /// When the certificate was recorded, in Unix seconds; none if it was not.
    pub recorded_at: Option<u64>,
    /// Whether the contract accepts the certificate now. It refuses those of expired batches and
    /// past epochs, although the certificates are good.
    pub check: Result<(), ChainError>,
}

/// Verifies a certificate against a committee file. `now` decides only whether it can still be
/// posted.
///
/// # Example
///
/// ```no_run
/// use dac_client::files::{CertificateFile, CommitteeFile};
/// use dac_client::verify::verify_offline;
///
/// let certificate = CertificateFile::read("certificate.json".as_ref())?;
/// let committee = CommitteeFile::read("committee.json".as_ref())?;
/// let verified = verify_offline(&certificate, &committee, 1_900_000_000)?;
/// println!("{} of {} signatures that are needed", verified.signers.len(), verified.quorum);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_offline(
    file: &CertificateFile,
    committee: &CommitteeFile,
    now: u64,
) -> Result<Verified, VerifyError> {
    let directory = Directory::new(committee.domain, [std::sync::Arc::new(committee.committee.clone())])?;
    verify_in(file, &directory, now, "the committee file")
}

/// Verifies a certificate against a snapshot of the registry. `now` decides only whether it can
/// still be posted.
pub fn verify_in_registry(
    file: &CertificateFile,
    view: &RegistryView,
    now: u64,
) -> Result<Verified, VerifyError> {
    // Check the keys of the certificate's epoch only.
    let committee = view.committee(file.certificate.header.epoch).cloned();
    let directory = Directory::new(view.domain(), committee)?;
    verify_in(file, &directory, now, "the registry")
}

/// Asks the log on L1 about a certificate.
pub async fn verify_on_l1(
    file: &CertificateFile,
    log: &CertificateLogReader,
) -> Result<L1Verdict, VerifyError> {
    let recorded_at = log.recorded_at(file.digest()).await?;
    let check = match log.check(&file.certificate).await {
        Ok(_) => Ok(()),
        Err(error @ ChainError::Reverted(_)) => Err(error),
        Err(error) => return Err(error.into()),
    };
    Ok(L1Verdict { recorded_at, check })
}

fn verify_in(
    file: &CertificateFile,
    directory: &Directory,
    now: u64,
    place: &'static str,
) -> Result<Verified, VerifyError> {
    let domain = directory.domain();
    if file.domain != *domain {
        return Err(VerifyError::Domain {
            chain: domain.chain_id,
            registry: domain.registry,
            got_chain: file.domain.chain_id,
            got_registry: file.domain.registry,
        });
    }
    let epoch = file.certificate.header.epoch;
    let entry = directory.epoch(epoch).ok_or(VerifyError::UnknownEpoch { epoch, place })?;
    let checked = entry.keys.verify_certificate(&file.certificate, domain)?;
    let absent = &file.certificate.aggregate.absent;
    let quorum = entry.committee.quorum();
    Ok(Verified {
        digest: checked.digest(),
        signers: absent.signers(quorum.geometry().n()).collect(),
        absent: absent.iter().collect(),
        quorum: quorum.q(),
        postable: entry.keys.check_times(checked.header(), now),
    })
}
