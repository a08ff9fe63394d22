//! The verdict on an audit's findings. It is a pure function, so that its rule can be read and
//! tested in one place.
//!
//! A verdict must not claim more than was checked. "Passed" therefore needs enough checked seats of
//! each batch. If too little could be checked, the audit has neither passed nor failed.

/// The verdict of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditVerdict {
    /// Every seat of the current epoch was asked, at least k seats of each batch were checked, and
    /// nothing was wrong.
    Passed,
    /// A member served wrong bytes, or lacks what it signed for.
    Failed,
    /// Nothing was wrong, but too little could be checked to say that all is well.
    NothingToSay,
}

impl AuditVerdict {
    /// The name that programs read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NothingToSay => "nothing_to_say",
        }
    }
}

/// The number of seats of one batch that were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatsChecked {
    /// The number of seats that proved chunks of their shards.
    pub checked: u16,
    /// The number of seats that can rebuild the batch: k.
    pub needed: u16,
}

impl SeatsChecked {
    /// Whether the seats that were checked could rebuild the batch.
    pub const fn is_enough(self) -> bool {
        self.checked >= self.needed
    }
}

/// All of an audit's findings that matter for its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Whether a member served wrong data, or lacked data that it signed for.
    pub is_wrong: bool,
    /// Whether a member that should have been checked could not be reached.
    pub is_unreachable: bool,
    /// The number of seats of the current epoch that were asked, reached or not.
    pub seats_asked: u16,
    /// The number of seats of the current epoch; 0 if there is no epoch yet.
    pub seats: u16,
    /// The seats checked of each live batch.
    pub batches: Vec<SeatsChecked>,
}

impl Findings {
    /// Returns the verdict. With `strict`, a member that could not be reached makes the audit fail,
    /// too.
    pub fn verdict(&self, strict: bool) -> AuditVerdict {
        if self.is_wrong || (strict && self.is_unreachable) {
            return AuditVerdict::Failed;
        }
        let is_complete = self.seats > 0
            && self.seats_asked >= self.seats
            && !self.batches.is_empty()
            && self.batches.iter().all(|batch| batch.is_enough());
        if is_complete { AuditVerdict::Passed } else { AuditVerdict::NothingToSay }
    }

    /// Returns the number of batches of which fewer than k seats were checked.
    pub fn batches_short(&self) -> usize {
        self.batches.iter().filter(|batch| !batch.is_enough()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(checked: u16, needed: u16) -> SeatsChecked {
        SeatsChecked { checked, needed }
    }

    fn good() -> Findings {
        Findings { seats_asked: 4, seats: 4, batches: vec![batch(4, 2), batch(2, 2)], ..Findings::default() }
    }

    #[test]
    fn nothing_checked_is_nothing_said() {
        use AuditVerdict::{Failed, NothingToSay, Passed};
        assert_eq!(good().verdict(false), Passed);
        assert_eq!(Findings::default().verdict(true), NothingToSay);
        for (findings, verdict, strict) in [
            (Findings { batches: Vec::new(), ..good() }, NothingToSay, NothingToSay),
            (Findings { batches: vec![batch(4, 2), batch(1, 2)], ..good() }, NothingToSay, NothingToSay),
            (Findings { seats: 0, seats_asked: 0, ..good() }, NothingToSay, NothingToSay),
            (Findings { seats_asked: 3, ..good() }, NothingToSay, NothingToSay),
            (Findings { is_unreachable: true, ..good() }, Passed, Failed),
            (Findings { is_unreachable: true, batches: vec![batch(0, 2)], ..good() }, NothingToSay, Failed),
            (Findings { is_wrong: true, ..good() }, Failed, Failed),
            (Findings { is_wrong: true, batches: vec![batch(0, 2)], ..good() }, Failed, Failed),
        ] {
            assert_eq!((findings.verdict(false), findings.verdict(true)), (verdict, strict), "{findings:?}");
        }
    }

    fn findings() -> impl Strategy<Value = Findings> {
        let batches = proptest::collection::vec((0..6_u16, 1..5_u16).prop_map(|(c, k)| batch(c, k)), 0..5);
        (any::<bool>(), any::<bool>(), 0..5_u16, 0..5_u16, batches).prop_map(
            |(is_wrong, is_unreachable, seats_asked, seats, batches)| Findings {
                is_wrong,
                is_unreachable,
                seats_asked,
                seats,
                batches,
            },
        )
    }

    proptest! {
        #[test]
        fn passed_means_that_enough_was_checked_and_nothing_was_wrong(findings in findings(), strict: bool) {
            if findings.verdict(strict) == AuditVerdict::Passed {
                prop_assert!(!findings.is_wrong && !findings.batches.is_empty());
                prop_assert!(findings.batches.iter().all(|batch| batch.checked >= batch.needed));
                prop_assert!(findings.seats > 0 && findings.seats_asked >= findings.seats);
                prop_assert!(!(strict && findings.is_unreachable));
            }
        }

        #[test]
        fn what_is_wrong_always_fails_and_nothing_else_does_unless_strict(findings in findings()) {
            prop_assert_eq!(findings.verdict(false) == AuditVerdict::Failed, findings.is_wrong);
        }

        #[test]
        fn one_check_less_never_turns_a_verdict_into_a_pass(findings in findings(), strict: bool, which: usize) {
            let mut less = findings.clone();
            if let Some(place) = which.checked_rem(less.batches.len()) {
                less.batches[place].checked = less.batches[place].checked.saturating_sub(1);
            } else {
                less.seats_asked = less.seats_asked.saturating_sub(1);
            }
            if findings.verdict(strict) != AuditVerdict::Passed {
                prop_assert!(less.verdict(strict) != AuditVerdict::Passed);
            }
        }

        #[test]
        fn strict_only_ever_adds_failures(findings in findings()) {
            let (mild, strict) = (findings.verdict(false), findings.verdict(true));
            prop_assert!(mild == strict || strict == AuditVerdict::Failed);
        }
    }
}
