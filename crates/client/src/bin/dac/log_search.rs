//! Searches the certificate log from the newest block backwards.

use dac_chain::{CertificateLogReader, ChainError, RecordedCertificate};

/// The number of blocks of one step.
const BLOCKS_PER_STEP: u64 = 5_000;
/// The most steps: together about 139 days of Ethereum's blocks.
const STEPS_MAX: u64 = 200;
/// The most batches of one search.
const FOUND_MAX: usize = 200_000;

/// The recorded batches found, the oldest first.
pub(crate) struct Found {
    pub(crate) events: Vec<RecordedCertificate>,
    pub(crate) from_block: u64,
    /// Whether the search went back far enough to find everything that was searched for.
    pub(crate) is_all: bool,
}

/// A search from the newest block backwards.
pub(crate) struct Search<'a> {
    pub(crate) log: &'a CertificateLogReader,
    pub(crate) head: u64,
    /// The first block that may hold events.
    pub(crate) oldest: u64,
    /// The search ends when this many batches were found.
    pub(crate) enough: Option<usize>,
    /// The search ends at a batch that was recorded before this time, in Unix seconds.
    pub(crate) since: Option<u64>,
}

impl Search<'_> {
    pub(crate) async fn run(&self, progress: impl Fn(u64)) -> Result<Found, ChainError> {
        // Pages, the newest first.
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
        // If only the newest batches are wanted, older ones are not missed.
        let is_all = is_all || self.enough.is_some_and(|enough| count >= enough);
        Ok(Found { events: pages.into_iter().rev().flatten().collect(), from_block: first, is_all })
    }

    /// Whether this page begins before the time at which the search ends.
    async fn reaches_back(&self, page: &[RecordedCertificate]) -> Result<bool, ChainError> {
        let (Some(since), Some(oldest)) = (self.since, page.first()) else { return Ok(false) };
        Ok(self.log.recorded_at(oldest.digest).await?.is_some_and(|at| at < since))
    }
}

/// Returns the batches that were recorded since a time, of batches in the order of recording. It
/// finds the first one by bisection, because each batch's time costs a call.
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
