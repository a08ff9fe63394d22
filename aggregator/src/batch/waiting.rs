//! What a batch waits for on its way to the certificate, and since when.

use dac_types::Seat;

use super::dispersal::Delivery;
use super::event::Action;
use super::obstruction::{Obstruction, Waiting};
use super::state::{Batch, Collection, Phase};

impl Batch {
    /// Returns what the batch waits for; none while it moves.
    pub const fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    /// Returns whether the batch is encoded and too few members would sign it, as far as their last
    /// answers say.
    pub const fn is_held_up(&self) -> bool {
        matches!(self.phase, Phase::Dispersing) && self.waiting.is_some()
    }

    /// Returns whether this seat's member refused for now, or could not be reached.
    pub fn is_retrying(&self, seat: Seat) -> bool {
        let members = self.dispersal.as_ref().map(|dispersal| &dispersal.members);
        members
            .and_then(|members| members.get(seat.index()))
            .is_some_and(|member| member.delivery == Delivery::Retrying)
    }

    /// Sets the time when the present reason appeared, unless it was set before.
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

    /// Looks after every event what the batch waits for. A reason that stays keeps its time.
    pub(super) fn note_waiting(&mut self) {
        match self.phase {
            // The encoder names the obstruction; it is over when the encoder has encoded.
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
