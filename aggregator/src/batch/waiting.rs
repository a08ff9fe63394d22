//! Why a batch has no certificate yet: derived from what its members said last, so that nobody has
//! to guess from silence.

use dac_types::Seat;

use super::{Action, Batch, Collection, Delivery, Dispersal, Phase};

/// What stands in a batch's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstruction {
    /// Machine-readable: the members' reason, or this program's.
    pub reason: String,
    /// For people.
    pub detail: String,
}

/// An obstruction, and since when its reason has been the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What stands in the way.
    pub obstruction: Obstruction,
    /// Unix milliseconds; 0 until [`Batch::date_waiting`] was called.
    pub since_ms: u64,
}

impl Batch {
    /// What it waits for; nothing while it moves.
    pub const fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    /// Whether it is encoded and too few members would sign it, as far as their last answers say.
    pub const fn is_held_up(&self) -> bool {
        matches!(self.phase, Phase::Dispersing) && self.waiting.is_some()
    }

    /// Whether this seat's member refused for now, or could not be reached.
    pub fn is_retrying(&self, seat: Seat) -> bool {
        let members = self.dispersal.as_ref().map(|dispersal| &dispersal.members);
        members
            .and_then(|members| members.get(seat.index()))
            .is_some_and(|member| member.delivery == Delivery::Retrying)
    }

    /// Says when the present reason appeared, unless that was said before.
    pub const fn date_waiting(&mut self, now_ms: u64) {
        if let Some(waiting) = &mut self.waiting
            && waiting.since_ms == 0
        {
            waiting.since_ms = now_ms;
        }
    }

    pub(super) fn encoding_waits(&mut self, obstruction: Obstruction) -> Vec<Action> {
        if self.phase == Phase::Received {
            self.wait_for(Some(obstruction));
        }
        Vec::new()
    }

    /// After every event: a reason that stays keeps its date.
    pub(super) fn note_waiting(&mut self) {
        match self.phase {
            // The encoder said so; it says when that is over by encoding.
            Phase::Received => {}
            Phase::Dispersing if self.collection == Collection::Open => {
                let former = self.waiting.as_ref().map(|waiting| waiting.obstruction.reason.as_str());
                let obstruction = self.dispersal.as_ref().and_then(|dispersal| dispersal.obstruction(former));
                self.wait_for(obstruction);
            }
            _ => self.waiting = None,
        }
    }

    fn wait_for(&mut self, obstruction: Option<Obstruction>) {
        let since_ms = match (&self.waiting, &obstruction) {
            (Some(former), Some(new)) if former.obstruction.reason == new.reason => former.since_ms,
            _ => 0,
        };
        self.waiting = obstruction.map(|obstruction| Waiting { obstruction, since_ms });
    }
}

impl Dispersal {
    /// What keeps a quorum from signing: of the reasons of those who are asked again the most
    /// frequent one, and of two that are as frequent the former one. Nothing while those that have
    /// not answered yet could make a quorum.
    fn obstruction(&self, former: Option<&str>) -> Option<Obstruction> {
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
            detail: super::transitions::cut(format!(
                "{seats} of {n} members say: {}; {signed} of {needed} signatures are there",
                chosen.detail
            )),
        })
    }
}
