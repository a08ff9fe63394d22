//! Learns how many blocks of logs an endpoint grants in one query: a pure state machine fed with
//! answers and failures.
//!
//! Endpoints never say what they grant, and refuse in many ways: with a JSON-RPC error, with a page
//! of HTML and a status, with silence. So any failed query over more than one block makes the next
//! one narrower. The widest query that was granted and the narrowest one that failed are
//! remembered. The range between them is searched, and a width that failed is tried again after a
//! while.

/// How many full pages must be granted before a width is tried again that the endpoint refused with
/// an error of its own.
const PATIENCE_AFTER_REFUSAL: u32 = 64;
/// The same after a failure that may have had another cause, such as a timeout.
const PATIENCE_AFTER_FAILURE: u32 = 8;

/// Why a query over several blocks had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The endpoint refused the query, or the answer was over our bound: the range was too wide.
    Refused,
    /// The exchange broke off, timed out or was not understood: the range may have been too wide.
    Broken,
}

/// What is known about one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageWidth {
    /// The widest query that was granted since one failed; 0 for none.
    granted: u64,
    /// The narrowest query that failed, and how many full pages come before it is tried again.
    failed: Option<(u64, u32)>,
    /// The full pages that were granted since that failure.
    pages: u32,
}

impl PageWidth {
    /// How many of `blocks` blocks should be asked for at once; at least 1.
    pub(super) fn of(&self, blocks: u64) -> u64 {
        self.limit().min(blocks).max(1)
    }

    fn limit(&self) -> u64 {
        match self.failed {
            None if self.granted == 0 => u64::MAX,
            None => self.granted.saturating_mul(2),
            Some((failed, _)) if self.granted == 0 => failed / 2,
            Some((failed, patience)) if self.pages >= patience => failed,
            Some((failed, _)) if failed - self.granted > 1 + self.granted / 8 => {
                self.granted + (failed - self.granted) / 2
            }
            Some(_) => self.granted,
        }
    }

    /// Notes that a query over so many blocks was answered.
    pub(super) fn answered(&mut self, blocks: u64) {
        // If nothing failed there is nothing to learn, and a page narrower than allowed shows
        // nothing.
        if (self.granted, self.failed) == (0, None) || blocks < self.limit() {
            return;
        }
        self.granted = self.granted.max(blocks);
        self.pages = self.pages.saturating_add(1);
        if self.failed.is_some_and(|(failed, _)| failed <= blocks) {
            (self.failed, self.pages) = (None, 0);
        }
    }

    /// Notes that a query over so many blocks had no answer.
    pub(super) fn failed(&mut self, blocks: u64, failure: Failure) {
        self.pages = 0;
        if blocks <= 1 {
            // The width is not the cause. When the endpoint is back, wide queries come back within
            // a few pages.
            (self.granted, self.failed) = (1, None);
            return;
        }
        let patience = match failure {
            Failure::Refused => PATIENCE_AFTER_REFUSAL,
            Failure::Broken => PATIENCE_AFTER_FAILURE,
        };
        if self.granted >= blocks {
            self.granted = 0;
        }
        self.failed = Some((blocks, patience));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads so many blocks in pages of 1000 from an endpoint that grants `limit`. Returns the
    /// number of queries granted and refused.
    fn read(width: &mut PageWidth, mut blocks: u64, limit: u64, failure: Failure) -> (u64, u64) {
        let (mut granted, mut refused) = (0, 0);
        while blocks > 0 {
            let asked = width.of(blocks.min(1_000));
            if asked > limit {
                refused += 1;
                width.failed(asked, failure);
            } else {
                granted += 1;
                blocks -= asked;
                width.answered(asked);
            }
        }
        (granted, refused)
    }

    #[test]
    fn a_narrow_endpoint_is_learned_once_and_asked_too_much_rarely() {
        for limit in [1, 2, 5, 10, 100, 499, 500] {
            for failure in [Failure::Refused, Failure::Broken] {
                let mut width = PageWidth::default();
                let (_, refused) = read(&mut width, 20 * limit, limit, failure);
                assert!(refused <= 20, "{limit}: {refused} refused while it is learned");
                // As many blocks as one contract misses in a day.
                let (granted, refused) = read(&mut width, 7_200, limit, failure);
                let needed = 7_200_u64.div_ceil(limit);
                assert!(granted <= needed * 5 / 4 + 4, "{limit}: {granted} queries, {needed} are needed");
                let patience = if failure == Failure::Refused { 64 } else { 8 };
                assert!(refused <= granted / patience + 4, "{limit}: {refused} of {granted} refused");
            }
        }
    }

    #[test]
    fn a_wide_endpoint_is_asked_for_whole_pages() {
        assert_eq!(read(&mut PageWidth::default(), 10_000, 1_000, Failure::Refused), (10, 0));
    }

    #[test]
    fn after_an_outage_wide_queries_are_back_within_a_few_pages() {
        let mut width = PageWidth::default();
        for _ in 0..30 {
            width.failed(width.of(1_000), Failure::Broken);
        }
        let (granted, refused) = read(&mut width, 20_000, 1_000, Failure::Broken);
        assert!(granted <= 20 + 10 + 2 * 8 && refused == 0, "{granted} granted, {refused} refused");
    }

    proptest! {
        #[test]
        fn whatever_an_endpoint_does_a_query_has_blocks_and_not_more_than_asked(
            steps in prop::collection::vec((1_u64..2_000, 0_u8..3), 1..400)
        ) {
            let mut width = PageWidth::default();
            for (blocks, outcome) in steps {
                let asked = width.of(blocks);
                prop_assert!((1..=blocks).contains(&asked));
                match outcome {
                    0 => width.answered(asked),
                    1 => width.failed(asked, Failure::Refused),
                    _ => width.failed(asked, Failure::Broken),
                }
            }
            // Full pages always come back in the end.
            for _ in 0..3_000 {
                let asked = width.of(1_000);
                width.answered(asked);
            }
            prop_assert_eq!(width.of(1_000), 1_000);
        }
    }
}
