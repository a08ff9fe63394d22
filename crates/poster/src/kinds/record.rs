//! Recording a certificate in the log.

use alloy::primitives::B256;
use async_trait::async_trait;
use dac_types::BatchDigest;

use super::super::error::PosterError;
use super::super::sight::Sight;
use super::super::verdict::Verdict;
use super::kind::{Judgement, Kind, Place, check_shared_room};
use dac_chain::BlockRef;
use dac_chain::ChainError;
use dac_contracts::{CertificateLog, Effect, Refusal};

/// The kind of posting that records a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record;

#[async_trait]
impl Kind for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    fn place(&self) -> Option<Place> {
        None
    }

    fn expires_at(&self) -> Option<u64> {
        None
    }

    fn check_room(&self, _line: &[u64], queued: usize, queue_max: usize) -> Result<(), PosterError> {
        check_shared_room(queued, queue_max)
    }

    fn judge(&self, refusal: &Refusal) -> Judgement {
        match refusal.effect() {
            Effect::Done if refusal.is::<CertificateLog::AlreadyRecorded>() => Judgement::Done,
            Effect::MayPass | Effect::Unclear => Judgement::Waits,
            Effect::Done | Effect::Final => Judgement::Never,
        }
    }

    /// L1 nodes word refusals differently, and some give no reason, so the log is asked whether it
    /// has the record.
    async fn look_up(&self, sight: &Sight<'_>) -> Option<Verdict> {
        let digest = sight.digest.batch()?;
        let has = async |block: BlockRef| {
            sight.l1.is_recorded(sight.log, digest, block.hash).await.unwrap_or(false)
        };
        if !has(sight.head).await {
            return None;
        }
        let confirmed = sight.confirmed == sight.head || has(sight.confirmed).await;
        let found = if confirmed { find_recorded(sight, digest).await } else { None };
        Some(Verdict::Done { confirmed, found })
    }

    async fn find(
        &self,
        sight: &Sight<'_>,
        refusal: Refusal,
    ) -> Result<(Verdict, Option<String>), ChainError> {
        let confirmed = sight.is_refused_when_confirmed(&refusal).await?;
        let found = match sight.digest.batch() {
            Some(digest) if confirmed => find_recorded(sight, digest).await,
            _ => None,
        };
        Ok((Verdict::Done { confirmed, found }, None))
    }
}

/// Looks for the record's block and transaction. They are only information for the reader, so a
/// failed search must not hold anything up.
async fn find_recorded(sight: &Sight<'_>, digest: BatchDigest) -> Option<(u64, B256)> {
    let found = sight.l1.find_recorded(sight.log, digest, sight.head.number).await.ok().flatten();
    found.map(|recorded| (recorded.block, recorded.tx))
}
