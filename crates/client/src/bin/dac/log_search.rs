//! What the certificate log recorded lately, searched from the newest block back.

use dac_chain::{CertificateLogReader, ChainError, RecordedCertificate};

/// Blocks of one step back.
const BLOCKS_PER_STEP: u64 = 5_000;
/// Steps back, at most: some 139 days of Ethereum's blocks.
const STEPS_MAX: u64 = 200;
/// Batches that are kept of a search, at most.
const FOUND_MAX: usize = 200_000;

/// Recorded batches, the oldest first.
pub(crate) struct Found {
    pub(crate) events: Vec<RecordedCertificate>,
    pub(crate) from_block: u64,
    /// Whether nothing that was searched for lies further back.
    pub(crate) is_all: bool,
}

/// A search from the newest block back.
pub(crate) struct Search<'a> {
    pub(crate) log: &'a CertificateLogReader,
    pub(crate) head: u64,
    /// Nothing was recorded before this block.
    pub(crate) oldest: u64,
    /// The search ends when so many were found.
    pub(crate) enough: Option<usize>,
    /// The search ends at a batch that was recorded before this time, in Unix seconds.
    pub(crate) since: Option<u64>,
}

impl Search<'_> {
    pub(crate) async fn run(&self, progress: impl Fn(u64)) -> Result<Found, ChainError> {
        // The newest page first.
        let mut pages: Vec<Vec<RecordedCertificate>> = Vec::new();
        let (mut last, mut count, mut is_all) = (self.head, 0, false);
        let mut first = last;
        for _ in 0..STEPS_MAX {
            first = last.saturating_sub(BLOCKS_PER_STEP - 1).max(self.oldest.min(last));
            progress(last);
            let page = self.log.recorded_events(first, last).await?;
            count += page.len();
            is_all = first <= self.oldest || self.reaches_back(&page).await?;
            pages.push(page);
            if is_all || count >= self.enough.unwrap_or(FOUND_MAX) {
                break;
            }
            last = first - 1;
        }
        // Where only the newest are wanted, none further back is missed.
        let is_all = is_all || self.enough.is_some_and(|enough| count >= enough);
        Ok(Found { events: pages.into_iter().rev().flatten().collect(), from_block: first, is_all })
    }

    /// Whether this page begins before the time that is searched back to.
    async fn reaches_back(&self, page: &[RecordedCertificate]) -> Result<bool, ChainError> {
        let (Some(since), Some(oldest)) = (self.since, page.first()) else { return Ok(false) };
        Ok(self.log.recorded_at(oldest.digest).await?.is_some_and(|at| at < since))
    }
}

/// What was recorded since a time, of batches that are ordered by it. Their times are asked for one
/// by one, so the first of them is found by halving.
pub(crate) async fn recorded_since<'a>(
    log: &CertificateLogReader,
    events: &'a [RecordedCertificate],
    since: u64,
) -> Result<&'a [RecordedCertificate], ChainError> {
    let (mut before, mut from) = (0, events.len());
    while before < from {
        let middle = usize::midpoint(before, from);
        if log.recorded_at(events[middle].digest).await?.is_some_and(|at| at >= since) {
            from = middle;
        } else {
            before = middle + 1;
        }
    }
    Ok(&events[from..])
}
