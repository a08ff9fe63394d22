//! Verifying a certificate: against a committee's keys alone, and against what L1 says.

use dac_bls::{CertificateError, SeatKeyError, TimeError};
use dac_chain::{CertificateLogReader, ChainError, RegistryView};
use dac_types::{BatchDigest, Seat};
use thiserror::Error;

use crate::directory::Directory;
use crate::files::{CertificateFile, CommitteeFile};

/// Why a certificate is not good, or could not be checked.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// Signed for another chain or registry than the one it is checked against.
    #[error(
        "the certificate is for chain {got_chain}, registry {got_registry}; checked against chain {chain}, registry {registry}"
    )]
    Domain {
        /// Chain it is checked against.
        chain: u64,
        /// Registry it is checked against.
        registry: dac_types::Address,
        /// Chain it was signed for.
        got_chain: u64,
        /// Registry it was signed for.
        got_registry: dac_types::Address,
    },
    /// The epoch is not there.
    #[error("the certificate is of epoch {epoch}, which {place} does not have")]
    UnknownEpoch {
        /// The epoch.
        epoch: u64,
        /// Where it was looked for.
        place: &'static str,
    },
    /// A committee whose keys are unusable.
    #[error(transparent)]
    Keys(#[from] SeatKeyError),
    /// Not signed by a quorum of that committee.
    #[error("the certificate does not verify: {0}")]
    Certificate(#[from] CertificateError),
    /// L1 could not be asked.
    #[error("L1: {0}")]
    Chain(#[from] ChainError),
}

impl VerifyError {
    /// Whether the certificate is to blame, and not the way to L1.
    pub const fn is_verdict(&self) -> bool {
        matches!(self, Self::Domain { .. } | Self::UnknownEpoch { .. } | Self::Certificate(_))
    }
}

/// A certificate that a quorum signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The batch.
    pub digest: BatchDigest,
    /// Seats whose signature is in it.
    pub signers: Vec<Seat>,
    /// Seats whose is not.
    pub absent: Vec<Seat>,
    /// Signatures needed.
    pub quorum: u16,
    /// Whether it could be posted at the time of the check.
    pub postable: Result<(), TimeError>,
}

/// What L1 says about a certificate that verifies.
#[derive(Debug)]
pub struct L1Verdict {
    /// When it was recorded, in Unix seconds; none if it was not.
    pub recorded_at: Option<u64>,
    /// Whether the contract accepts it now: expired batches and past epochs are refused although
    /// their certificate is good.
    pub check: Result<(), ChainError>,
}

/// Verifies a certificate against a committee file. `now` is for the times alone.
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

/// Against a snapshot of the registry. `now` is for the times alone.
pub fn verify_in_registry(
    file: &CertificateFile,
    view: &RegistryView,
    now: u64,
) -> Result<Verified, VerifyError> {
    // The keys of the one epoch that matters.
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
