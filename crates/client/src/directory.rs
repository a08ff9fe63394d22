//! The seats of all epochs that matter and their operators, as retrieval and audits use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dac_bls::{CommitteeKeys, SeatKeyError};
use dac_chain::RegistryView;
use dac_types::{Address, Committee, Domain, Seat};

/// An operator who may hold a seat's shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The operator's L1 address.
    pub operator: Address,
    /// The URL where the operator serves.
    pub url: String,
    /// The newest epoch in which it holds the seat.
    pub epoch: u64,
}

/// One epoch's committee with its checked keys.
#[derive(Debug)]
pub struct EpochCommittee {
    /// The seats of the committee.
    pub committee: Arc<Committee>,
    /// The keys of the seats, checked to be points of the curve.
    pub keys: CommitteeKeys,
}

/// The committees of all known epochs, under one signature domain.
#[derive(Clone, Debug)]
pub struct Directory {
    domain: Domain,
    epochs: BTreeMap<u64, Arc<EpochCommittee>>,
}

impl Directory {
    /// Makes a directory of committees and checks every key.
    pub fn new(
        domain: Domain,
        committees: impl IntoIterator<Item = Arc<Committee>>,
    ) -> Result<Self, SeatKeyError> {
        let epochs = committees
            .into_iter()
            .map(|committee| {
                let keys = CommitteeKeys::new(&committee)?;
                Ok((committee.epoch(), Arc::new(EpochCommittee { committee, keys })))
            })
            .collect::<Result<_, SeatKeyError>>()?;
        Ok(Self { domain, epochs })
    }

    /// Makes a directory of a snapshot of the registry.
    pub fn from_view(view: &RegistryView) -> Result<Self, SeatKeyError> {
        Self::new(view.domain(), view.committees.values().cloned())
    }

    /// The domain in which the committees' signatures are valid.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Returns one epoch's committee.
    pub fn epoch(&self, epoch: u64) -> Option<&Arc<EpochCommittee>> {
        self.epochs.get(&epoch)
    }

    /// Returns all epochs, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<EpochCommittee>> {
        self.epochs.values().rev()
    }

    /// Returns the operators that may hold the shards of `seat` for an epoch's batches: the seat's
    /// newest holder first, then the older ones. A seat passes on to new operators while n and k
    /// stay the same; when these change, old batches stay with the old seats.
    pub fn holders(&self, epoch: u64, seat: Seat) -> Vec<Holder> {
        if !self.epochs.contains_key(&epoch) {
            return Vec::new();
        }
        let mut holders: Vec<Holder> = Vec::new();
        let successors = self.epochs.range(epoch..).map(|(_, entry)| &*entry.committee);
        for committee in Committee::lineage(successors) {
            let Some(member) = committee.member(seat) else { continue };
            holders.retain(|holder| holder.operator != member.operator);
            holders.push(Holder {
                operator: member.operator,
                url: member.retrieval_url.clone(),
                epoch: committee.epoch(),
            });
        }
        holders.reverse();
        holders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_bls::SecretKey;
    use dac_types::{Member, Quorum};

    fn member(name: u8) -> Member {
        Member {
            operator: Address::repeat_byte(name),
            public_key: SecretKey::derive(&[name; 32]).public_key().to_compressed(),
            dispersal_url: String::new(),
            retrieval_url: format!("http://member-{name}"),
        }
    }

    fn committee(epoch: u64, k: u16, names: &[u8]) -> Arc<Committee> {
        let n = u16::try_from(names.len()).unwrap();
        let members = names.iter().map(|name| member(*name)).collect();
        let quorum = Quorum::new(n, k, n).unwrap();
        Arc::new(Committee::new(epoch, quorum, members, epoch, u64::MAX, u64::MAX).unwrap())
    }

    #[test]
    fn seats_outlive_operators_while_n_and_k_stay() {
        let domain = Domain { chain_id: 1, registry: Address::ZERO };
        let directory = Directory::new(
            domain,
            [
                committee(1, 2, &[1, 2, 3]),
                committee(2, 2, &[1, 4, 3]),
                committee(3, 2, &[1, 5, 3]),
                committee(4, 1, &[6, 7, 8]),
                committee(5, 2, &[9, 10, 11]),
            ],
        )
        .unwrap();
        let names = |epoch, seat| -> Vec<u8> {
            directory.holders(epoch, Seat(seat)).iter().map(|holder| holder.operator.0[0]).collect()
        };
        assert_eq!(names(1, 1), [5, 4, 2]);
        assert_eq!(names(1, 0), [1]);
        assert_eq!(names(2, 1), [5, 4]);
        assert_eq!(names(4, 0), [6]);
        assert_eq!(names(1, 3), [0; 0]);
        assert_eq!(names(9, 0), [0; 0]);
    }
}
