//! A batch as it is persisted.

use dac_types::limits::QUOTA_DAY_SECONDS;
use dac_types::{AggregateAttestation, B256, BatchDigest, Certificate, PostingMode, SignedSubmission};

use super::dispersal::Dispersal;
use super::failure::Failure;
use super::id::SubmissionDigest;
use super::obstruction::Waiting;
use super::proof::Proof;

/// How far a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The payload is on durable storage.
    Received,
    /// The payload is encoded and the header signed; shards are on their way to the members.
    Dispersing,
    /// A quorum signed, and the certificate is on durable storage.
    Certified,
    /// The batch is certified, and has a proof that may settle it.
    Proved,
    /// The certificate is recorded on L1; or, if the batch is to be settled without a record, a
    /// block that is not deep enough yet settled it.
    Posted,
    /// The rollup settled the batch, and the configured number of blocks confirms it.
    Settled,
    /// The batch was given up; its number is free.
    Failed(Failure),
    /// `expiresAt` passed before the batch was posted; its number is free.
    Expired,
}

impl Phase {
    /// Returns whether another payload for the same batch number is refused.
    pub const fn holds_number(&self) -> bool {
        !matches!(self, Phase::Failed(_) | Phase::Expired)
    }

    /// All values of [`Self::name`].
    pub const NAMES: [&'static str; 8] =
        ["received", "dispersing", "certified", "proved", "settled", "posted", "failed", "expired"];

    /// Returns the short name, for logs, metrics and the store.
    pub const fn name(&self) -> &'static str {
        match self {
            Phase::Received => "received",
            Phase::Dispersing => "dispersing",
            Phase::Certified => "certified",
            Phase::Proved => "proved",
            Phase::Settled => "settled",
            Phase::Posted => "posted",
            Phase::Failed(_) => "failed",
            Phase::Expired => "expired",
        }
    }
}

/// The verified sum of a quorum's signatures, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The sum, and the members whose signatures are not in it.
    pub aggregate: AggregateAttestation,
    /// The time when it was made, in Unix milliseconds.
    pub at_ms: u64,
}

/// Where L1 recorded the certificate, or settled the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Record {
    /// The transaction; none if another sender sent it and it was not found.
    pub transaction: Option<B256>,
    /// The number of the block.
    pub block: u64,
    /// The gas that the transaction used; 0 if it is not ours.
    pub gas_used: u64,
    /// Whether it was our transaction.
    pub by_us: bool,
}

/// How far the collection of a quorum's signatures is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Collection {
    /// There are too few signatures.
    #[default]
    Open,
    /// A quorum answered, and other members have a little longer.
    Grace,
    /// A sum is being made.
    Aggregating,
}

/// A batch as it is persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The digest of its submission, which identifies it in the aggregator.
    pub id: SubmissionDigest,
    /// The rollup's signed submission.
    pub submission: SignedSubmission,
    /// The time when the payload was stored, in Unix milliseconds.
    pub received_at_ms: u64,
    /// How far the batch is.
    pub phase: Phase,
    /// The dispersal in the newest epoch in which there was one.
    pub dispersal: Option<Dispersal>,
    /// The sum of signatures, once a quorum signed.
    pub certificate: Option<Certified>,
    /// How the batch comes to L1.
    pub posting: PostingMode,
    /// The last validity proof that the rollup handed in.
    pub proof: Option<Proof>,
    /// Where the certificate log recorded the certificate.
    pub l1: Option<L1Record>,
    /// Where the rollup settled the batch, final or only seen in a block.
    pub settlement: Option<L1Record>,
    /// Why posting waits, or the last problem that it met; empty if all is well.
    pub l1_problem: String,
    /// The UTC day, in days since 1970, to whose quota the payload counts; 0 if it counts to none.
    /// A batch without a certificate counts to the day on which it would get one.
    pub quota_day: u64,
    /// Whether the stored payload is not needed any more. The store deletes it with the change that
    /// sets this.
    pub payload_dropped: bool,
    /// Whether no delivery and no posting is left to do.
    pub finished: bool,
    /// How far the collection of signatures is. Not persisted.
    pub(super) collection: Collection,
    /// What the batch waits for on its way to the certificate. Not persisted.
    pub(super) waiting: Option<Waiting>,
}

/// Returns the day of quotas, counted from 1970, in which a Unix second lies.
pub(super) const fn quota_day(now: u64) -> u64 {
    now / QUOTA_DAY_SECONDS
}

impl Batch {
    /// Makes a batch whose payload was just stored.
    pub const fn received(id: SubmissionDigest, submission: SignedSubmission, received_at_ms: u64) -> Self {
        Self {
            id,
            submission,
            received_at_ms,
            phase: Phase::Received,
            dispersal: None,
            certificate: None,
            posting: PostingMode::Record,
            proof: None,
            l1: None,
            settlement: None,
            l1_problem: String::new(),
            quota_day: quota_day(received_at_ms / 1000),
            payload_dropped: false,
            finished: false,
            collection: Collection::Open,
            waiting: None,
        }
    }

    /// Returns the same batch with another posting mode.
    #[must_use]
    pub fn posted_by(self, posting: PostingMode) -> Self {
        Self { posting, ..self }
    }

    /// Returns the digest of the header, once the payload is encoded.
    pub fn digest(&self) -> Option<BatchDigest> {
        self.dispersal.as_ref().map(|dispersal| dispersal.digest)
    }

    /// Returns whether only members' answers to the saved header have changed since `saved`. Such a
    /// change need not be stored at once: a member that is asked again answers the same again, for
    /// it signs what it has stored. A process that ends before it stores the answers loses the time
    /// of these calls. What follows from the answers (certificate, failure, the payload's end) is
    /// no such change.
    pub fn may_wait(&self, saved: &Self) -> bool {
        let (Some(now), Some(before)) = (&self.dispersal, &saved.dispersal) else {
            return self.is_stored_as(saved);
        };
        if now.digest != before.digest {
            return false;
        }
        let said = Dispersal { members: now.members.clone(), ..before.clone() };
        self.is_stored_as(&Self { dispersal: Some(said), ..saved.clone() })
    }

    /// Returns whether the store would hold the same for both. Fields that are not persisted may
    /// differ.
    pub fn is_stored_as(&self, saved: &Self) -> bool {
        *self == Self { collection: self.collection, waiting: self.waiting.clone(), ..saved.clone() }
    }

    /// Returns the certificate, once there is one.
    pub fn certificate(&self) -> Option<Certificate> {
        let dispersal = self.dispersal.as_ref()?;
        let certified = self.certificate.as_ref()?;
        Some(Certificate { header: dispersal.record.header.clone(), aggregate: certified.aggregate.clone() })
    }

    /// Returns the proof that may settle the batch.
    pub fn live_proof(&self) -> Option<&Proof> {
        self.proof.as_ref().filter(|proof| proof.is_live())
    }

    /// Returns whether the batch's outcome will not change any more, unless a recorded batch gets a
    /// proof. (Deliveries to slow members may go on.)
    pub fn is_over(&self) -> bool {
        match self.phase {
            Phase::Settled | Phase::Failed(_) | Phase::Expired => true,
            Phase::Posted => self.posting.records_certificate() && self.live_proof().is_none(),
            Phase::Received | Phase::Dispersing | Phase::Certified | Phase::Proved => false,
        }
    }
}
