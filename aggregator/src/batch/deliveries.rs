//! What a batch still owes to its members.

use dac_types::Seat;

use super::dispersal::{Delivery, Dispersal, MemberOutcome};
use super::event::Action;
use super::state::Batch;

impl Batch {
    /// Returns calls to all seats that have not answered for good.
    pub(super) fn deliveries(&self) -> Vec<Action> {
        self.seats_where(|member| matches!(member.delivery, Delivery::Pending | Delivery::Retrying))
            .map(|seat| Action::Deliver { seat })
            .collect()
    }

    /// Returns calls to all seats that hold their shard and were not given the certificate yet.
    pub(super) fn certificate_deliveries(&self) -> Vec<Action> {
        self.seats_where(|member| {
            matches!(member.delivery, Delivery::Attested(_)) && !member.certificate_done
        })
        .map(|seat| Action::DeliverCertificate { seat })
        .collect()
    }

    /// Returns the checks of all signatures that came too late for the certificate.
    pub(super) fn signature_checks(&self) -> Vec<Action> {
        let members = self.dispersal.iter().flat_map(Dispersal::seats);
        members
            .filter_map(|(seat, member)| match member.delivery {
                Delivery::Claimed(signature) => Some(Action::CheckSignature { seat, signature }),
                _ => None,
            })
            .collect()
    }

    fn seats_where(&self, wanted: impl Fn(&MemberOutcome) -> bool) -> impl Iterator<Item = Seat> {
        self.dispersal
            .iter()
            .flat_map(Dispersal::seats)
            .filter(move |(_, member)| wanted(member))
            .map(|(seat, _)| seat)
    }
}
