//! The reason why a batch has no certificate yet, as far as its members' last answers tell.

use super::dispersal::{Delivery, Dispersal};
use super::text::cut;

/// What stands in a batch's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstruction {
    /// The machine-readable reason, which a member or this program gave.
    pub reason: String,
    /// The obstruction in words, for people.
    pub detail: String,
}

/// An obstruction, and the time since which its reason has been the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What stands in the way.
    pub obstruction: Obstruction,
    /// The time in Unix milliseconds; 0 until [`super::Batch::date_waiting`] was called.
    pub since_ms: u64,
}

impl Dispersal {
    /// Returns what keeps a quorum from signing: the most frequent reason of the members that are
    /// asked again. Of two reasons that are as frequent, the `former` one stays. It is none while
    /// the members that have not answered yet could complete a quorum.
    pub(super) fn obstruction(&self, former: Option<&str>) -> Option<Obstruction> {
        let (signed, unanswered) =
            (self.signatures().len(), self.count(|delivery| delivery == Delivery::Pending));
        let needed = usize::from(self.quorum.q());
        if signed + usize::from(unanswered) >= needed {
            return None;
        }
        let retrying = || self.members.iter().filter(|member| member.delivery == Delivery::Retrying);
        let votes = |reason: &str| retrying().filter(|member| member.reason == reason).count();
        let mut chosen = retrying().next()?;
        for member in retrying() {
            let rank = |reason: &str| (votes(reason), former == Some(reason));
            if rank(&member.reason) > rank(&chosen.reason) {
                chosen = member;
            }
        }
        let (seats, n) = (votes(&chosen.reason), self.quorum.geometry().n());
        Some(Obstruction {
            reason: chosen.reason.clone(),
            detail: cut(format!(
                "{seats} of {n} members say: {}; {signed} of {needed} signatures are there",
                chosen.detail
            )),
        })
    }
}
