//! Assesses a committee from its numbers n, k and q: which parties its safety and liveness depend
//! on, and L2BEAT's criteria for data availability committees as far as a registry can tell.
//!
//! L2BEAT's assessment ("committee security" of a DA bridge) calls a committee insecure that has
//! fewer than 6 publicly known members, or fewer than 5 external to the project, or that needs more
//! than a third of its members to be honest so that no certificate for withheld data is accepted.
//! With full copies that number of honest members is n − q + 1. Under erasure coding it is n − q +
//! k, because k honest signers must be there to rebuild. Both are shown; the second applies here.

use dac_types::{Quorum, Safety};

/// Members that must be publicly known, at least.
const KNOWN_MEMBERS_MIN: u16 = 6;
/// Members that must be external to the project, at least.
const EXTERNAL_MEMBERS_MIN: u16 = 5;

/// The outcome of one criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The committee meets the criterion.
    Met,
    /// The committee does not meet the criterion.
    NotMet,
    /// The registry does not say whether the criterion is met.
    Unknown,
}

impl Verdict {
    /// The name that programs read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "not_met",
            Self::Unknown => "unknown",
        }
    }

    const fn of(met: bool) -> Self {
        if met { Self::Met } else { Self::NotMet }
    }
}

/// One criterion and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// The name that programs read.
    pub id: &'static str,
    /// What the criterion demands.
    pub rule: String,
    /// Whether the committee meets it.
    pub verdict: Verdict,
    /// The reason for the verdict.
    pub finding: String,
}

/// The safety of a committee as its numbers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// The committee's n, k and q.
    pub quorum: Quorum,
    /// How many members can do harm, and how many may fail.
    pub safety: Safety,
    /// What operators and users of this committee must know.
    pub warnings: Vec<String>,
    /// L2BEAT's criteria and their outcomes.
    pub l2beat: Vec<Criterion>,
}

impl Assessment {
    /// Assesses a committee with these numbers.
    pub fn of(quorum: Quorum) -> Self {
        let safety = quorum.safety();
        Self { quorum, safety, warnings: warnings(quorum), l2beat: criteria(quorum) }
    }

    /// Honest members needed so that every certified batch can be rebuilt: n − q + k.
    pub const fn honest_needed(&self) -> u16 {
        let geometry = self.quorum.geometry();
        geometry.n() - self.quorum.q() + geometry.k()
    }

    /// Honest members needed if every member kept a full copy: n − q + 1.
    pub const fn honest_needed_by_full_copies(&self) -> u16 {
        self.quorum.geometry().n() - self.quorum.q() + 1
    }

    /// The bytes that the whole committee stores for each byte of payload: n / k.
    pub fn storage_factor(&self) -> f64 {
        f64::from(self.quorum.geometry().n()) / f64::from(self.quorum.geometry().k())
    }
}

fn warnings(quorum: Quorum) -> Vec<String> {
    let (n, k, q) = (quorum.geometry().n(), quorum.geometry().k(), quorum.q());
    let mut warnings = Vec::new();
    if q == k {
        warnings.push(format!(
            "q = k = {k}: NO SIGNER MAY FAIL. A single signer that lies, withholds or loses its disk makes a certified batch \
             unrecoverable. Choose q > k; the usual choice is n = 3f+1, k = f+1, q = 2f+1."
        ));
    }
    if q == n {
        warnings.push(format!(
            "q = n = {n}: a single silent member stops certification. Choose q < n unless halting is what you want."
        ));
    }
    warnings
}

fn criteria(quorum: Quorum) -> Vec<Criterion> {
    let (n, k, q) = (quorum.geometry().n(), quorum.geometry().k(), quorum.q());
    let (copies, coded) = (n - q + 1, n - q + k);
    let minority = |honest: u16| 3 * u32::from(honest) <= u32::from(n);
    let share = |honest: u16| 100.0 * f64::from(honest) / f64::from(n);
    vec![
        Criterion {
            id: "size",
            rule: format!("at least {KNOWN_MEMBERS_MIN} members"),
            verdict: Verdict::of(n >= KNOWN_MEMBERS_MIN),
            finding: format!("{n} seats, each with another operator and another key"),
        },
        Criterion {
            id: "known_members",
            rule: "members are publicly known".to_owned(),
            verdict: Verdict::Unknown,
            finding: "the registry holds addresses, keys and URLs, not who stands behind them".to_owned(),
        },
        Criterion {
            id: "external_members",
            rule: format!("at least {EXTERNAL_MEMBERS_MIN} members external to the project"),
            verdict: if n < EXTERNAL_MEMBERS_MIN { Verdict::NotMet } else { Verdict::Unknown },
            finding: "the registry cannot tell whether two operators belong together".to_owned(),
        },
        Criterion {
            id: "threshold_published",
            rule: "at most 1/3 of the members must be honest, by the published formula (n − q + 1) for full copies".to_owned(),
            verdict: Verdict::of(minority(copies)),
            finding: format!("{copies} of {n} ({:.0} %)", share(copies)),
        },
        Criterion {
            id: "threshold_erasure_coded",
            rule: "the same with erasure coding, where k honest signers must be left (n − q + k)".to_owned(),
            verdict: Verdict::of(minority(coded)),
            finding: format!("{coded} of {n} ({:.0} %): the price of storing {n}/{k} instead of {n} copies", share(coded)),
        },
        Criterion {
            id: "verified_on_l1",
            rule: "attestations are verified on L1".to_owned(),
            verdict: Verdict::Met,
            finding: "the certificate log and settlement check the committee's BLS signature on chain".to_owned(),
        },
        Criterion {
            id: "exit_window",
            rule: "changes of the committee leave users time to exit".to_owned(),
            verdict: Verdict::Unknown,
            finding: "who owns the registry, and whether behind a timelock, decides this; compare the activation delay".to_owned(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(n: u16, k: u16, q: u16, id: &str) -> Verdict {
        let assessment = Assessment::of(Quorum::new(n, k, q).unwrap());
        assessment.l2beat.iter().find(|criterion| criterion.id == id).unwrap().verdict
    }

    #[test]
    fn the_arithmetic_is_that_of_the_protocol() {
        let assessment = Assessment::of(Quorum::new(7, 3, 5).unwrap());
        assert_eq!(assessment.safety.withholders_tolerated, 2);
        assert_eq!(assessment.safety.silent_tolerated, 2);
        assert_eq!(assessment.safety.withholders_tolerated_by_full_copies, 4);
        assert_eq!(assessment.honest_needed(), 5);
        assert_eq!(assessment.honest_needed_by_full_copies(), 3);
        assert!(assessment.warnings.is_empty());
    }

    #[test]
    fn no_margin_is_warned_of_loudly() {
        let warnings = Assessment::of(Quorum::new(7, 5, 5).unwrap()).warnings;
        assert!(warnings[0].contains("NO SIGNER MAY FAIL"), "{warnings:?}");
        let warnings = Assessment::of(Quorum::new(7, 5, 7).unwrap()).warnings;
        assert!(warnings[0].contains("a single silent member"), "{warnings:?}");
    }

    #[test]
    fn criteria_follow_the_numbers() {
        assert_eq!(verdict(5, 2, 4, "size"), Verdict::NotMet);
        assert_eq!(verdict(6, 2, 5, "size"), Verdict::Met);
        assert_eq!(verdict(4, 1, 3, "external_members"), Verdict::NotMet);
        assert_eq!(verdict(7, 3, 5, "external_members"), Verdict::Unknown);
        assert_eq!(verdict(7, 3, 5, "threshold_published"), Verdict::NotMet);
        assert_eq!(verdict(7, 3, 6, "threshold_published"), Verdict::Met);
        assert_eq!(verdict(7, 3, 6, "threshold_erasure_coded"), Verdict::NotMet);
        assert_eq!(verdict(9, 1, 7, "threshold_erasure_coded"), Verdict::Met);
    }
}
