//! Computes which seats' shards a member owes. It is a pure function of the committees and the
//! member's key.
//!
//! A member owes the shards of its seat in the batches of its own epoch, whether or not it signed
//! them. Of older batches it owes the shards of a seat that it took over: seats outlive operators
//! as long as n and k stay the same. A member that left still owes what it owed.

use std::collections::BTreeMap;
use std::sync::Arc;

use dac_types::{Committee, PublicKeyBytes, Seat};

/// Returns the seats that `key` owes, by the epoch of the batches. There is at most one for an
/// epoch.
pub fn owed_seats(committees: &BTreeMap<u64, Arc<Committee>>, key: &PublicKeyBytes) -> Vec<(u64, Seat)> {
    committees.keys().filter_map(|epoch| Some((*epoch, owed_seat(committees, *epoch, key)?))).collect()
}

/// Returns the seat that `key` holds in the epoch itself, or else the lowest one that it took over
/// in a later epoch of the same lineage.
fn owed_seat(committees: &BTreeMap<u64, Arc<Committee>>, epoch: u64, key: &PublicKeyBytes) -> Option<Seat> {
    let origin = committees.get(&epoch)?;
    if let Some(seat) = origin.seat_of(key) {
        return Some(seat);
    }
    let later = committees.range(epoch..).map(|(_, committee)| &**committee);
    Committee::lineage(later).filter_map(|committee| committee.seat_of(key)).min()
}

#[cfg(test)]
mod tests {
    use dac_bls::SecretKey;
    use dac_types::{Address, Member, Quorum};

    use super::*;

    fn key(name: u8) -> PublicKeyBytes {
        SecretKey::derive(&[name; 32]).public_key().to_compressed()
    }

    fn committee(epoch: u64, k: u16, names: &[u8]) -> (u64, Arc<Committee>) {
        let members = names
            .iter()
            .map(|name| Member {
                operator: Address::repeat_byte(*name),
                public_key: key(*name),
                dispersal_url: String::new(),
                retrieval_url: String::new(),
            })
            .collect();
        let n = u16::try_from(names.len()).unwrap();
        let quorum = Quorum::new(n, k, n).unwrap();
        (epoch, Arc::new(Committee::new(epoch, quorum, members, epoch, u64::MAX, u64::MAX).unwrap()))
    }

    #[test]
    fn seats_are_owed_by_those_who_hold_them_and_those_who_took_them_over() {
        let committees: BTreeMap<_, _> = [
            committee(1, 2, &[1, 2, 3]),
            committee(2, 2, &[1, 4, 3]),
            // Member 4 moves up, 5 comes, and 3 leaves.
            committee(3, 2, &[4, 1, 5]),
            // Another k makes another lineage, though the committee after it looks like the first.
            committee(4, 1, &[6, 5, 4]),
            committee(5, 2, &[7, 2, 3]),
        ]
        .into();
        for (name, expected) in [
            // It owes its own seat, although it moved later.
            (1, vec![(1, 0), (2, 0), (3, 1)]),
            // It left, and owes what it owed. What it took over in another lineage is not of the
            // first one.
            (2, vec![(1, 1), (5, 1)]),
            (3, vec![(1, 2), (2, 2), (5, 2)]),
            // It came for seat 1 and later took seat 0. It owes the lower of both for batches older
            // than either.
            (4, vec![(1, 0), (2, 1), (3, 0), (4, 2)]),
            (5, vec![(1, 2), (2, 2), (3, 2), (4, 1)]),
            (6, vec![(4, 0)]),
            (7, vec![(5, 0)]),
            (8, vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(epoch, seat)| (epoch, Seat(seat))).collect();
            assert_eq!(owed_seats(&committees, &key(name)), expected, "member {name}");
        }
        assert_eq!(owed_seats(&BTreeMap::new(), &key(1)), []);
    }
}
