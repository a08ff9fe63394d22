//! Plans the next epoch, in which only the named seats change hands. The registry decides in the
//! end; this reports beforehand what it would refuse, and changes that it would make although they
//! were not asked for.

use std::collections::{BTreeMap, HashMap};

use dac_chain::Registration;
use dac_types::{Address, Committee, PublicKeyBytes, Quorum, Seat};
use thiserror::Error;

/// Why a rotation cannot be carried out as asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RotationError {
    /// No seat is named.
    #[error("no seat is named")]
    Nothing,
    /// The committee has no such seat.
    #[error("seat {seat} does not exist in a committee of {n}")]
    Seat {
        /// The seat.
        seat: Seat,
        /// Seats of the committee.
        n: u16,
    },
    /// A seat is given to two operators.
    #[error("seat {seat} is named twice")]
    SeatTwice {
        /// The seat.
        seat: Seat,
    },
    /// An operator has not registered.
    #[error("operator {operator} is not registered: `dac register` comes first")]
    NotRegistered {
        /// The operator.
        operator: Address,
    },
    /// An operator would have two seats.
    #[error("operator {operator} would sit in seats {first} and {second}")]
    OperatorTwice {
        /// The operator.
        operator: Address,
        /// One of its seats.
        first: Seat,
        /// Its other seat.
        second: Seat,
    },
    /// Two seats would have the same key.
    #[error("seats {first} and {second} would have the same key")]
    KeyTwice {
        /// One of the seats.
        first: Seat,
        /// The other one.
        second: Seat,
    },
    /// The operator has the seat already, with the same key.
    #[error(
        "seat {seat} has this operator with this key already: register another key, or name another operator"
    )]
    Unchanged {
        /// The seat.
        seat: Seat,
    },
    /// Operators of other seats registered new keys meanwhile, and the next epoch would seat these.
    #[error(
        "seats {} would change keys as well, since their operators registered new ones: name them, too",
        list(seats)
    )]
    OthersChange {
        /// The seats of these operators.
        seats: Vec<Seat>,
    },
    /// More seats would change hands at once than the registry allows.
    #[error(
        "{got} seats would change hands, at most {limit} may: the others must hold enough for newcomers to repair from; \
         do it in several epochs, each when the former one's newcomers are ready"
    )]
    TooMany {
        /// The number of seats that would change hands.
        got: usize,
        /// The most seats that may change hands: max(1, q − k).
        limit: usize,
    },
}

fn list(seats: &[Seat]) -> String {
    let names: Vec<String> = seats.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// A seat that changes hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The seat.
    pub seat: Seat,
    /// The operator that has the seat now.
    pub from: Address,
    /// The key that the seat has now.
    pub from_key: PublicKeyBytes,
    /// The operator that gets the seat; the same operator may get it with another key.
    pub to: Registration,
}

/// A plan for the next epoch, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The operators of all seats, in seat order.
    pub operators: Vec<Address>,
    /// The committee's n, k and q. They do not change, so that old batches stay with the seats.
    pub quorum: Quorum,
    /// The seats that change hands, in seat order.
    pub changes: Vec<Change>,
}

impl Rotation {
    /// Returns how many seats of `former` may change hands at once.
    pub fn limit(former: &Committee) -> usize {
        let quorum = former.quorum();
        usize::from(quorum.q() - quorum.geometry().k()).max(1)
    }

    /// Plans an epoch in which the named seats are replaced, and no other. `registrations` are
    /// those of all operators of the new epoch, as far as they are registered.
    pub fn plan(
        former: &Committee,
        replacements: &[(Seat, Address)],
        registrations: &HashMap<Address, Registration>,
    ) -> Result<Self, RotationError> {
        if replacements.is_empty() {
            return Err(RotationError::Nothing);
        }
        let n = former.quorum().geometry().n();
        let mut named: BTreeMap<Seat, Address> = BTreeMap::new();
        for (seat, operator) in replacements {
            if seat.index() >= usize::from(n) {
                return Err(RotationError::Seat { seat: *seat, n });
            }
            if named.insert(*seat, *operator).is_some() {
                return Err(RotationError::SeatTwice { seat: *seat });
            }
        }
        let mut operators = Vec::with_capacity(usize::from(n));
        let mut changes = Vec::new();
        let mut others = Vec::new();
        let mut seats_of: HashMap<Address, Seat> = HashMap::new();
        let mut seats_with: HashMap<PublicKeyBytes, Seat> = HashMap::new();
        for (seat, member) in former.seats() {
            let operator = named.get(&seat).copied().unwrap_or(member.operator);
            let to = registrations.get(&operator).ok_or(RotationError::NotRegistered { operator })?;
            if let Some(first) = seats_of.insert(operator, seat) {
                return Err(RotationError::OperatorTwice { operator, first, second: seat });
            }
            if let Some(first) = seats_with.insert(to.public_key, seat) {
                return Err(RotationError::KeyTwice { first, second: seat });
            }
            let is_same = operator == member.operator && to.public_key == member.public_key;
            match (named.contains_key(&seat), is_same) {
                (true, true) => return Err(RotationError::Unchanged { seat }),
                (false, false) => others.push(seat),
                (true, false) => changes.push(Change {
                    seat,
                    from: member.operator,
                    from_key: member.public_key,
                    to: to.clone(),
                }),
                (false, true) => {}
            }
            operators.push(operator);
        }
        if !others.is_empty() {
            return Err(RotationError::OthersChange { seats: others });
        }
        let limit = Self::limit(former);
        if changes.len() > limit {
            return Err(RotationError::TooMany { got: changes.len(), limit });
        }
        Ok(Self { operators, quorum: former.quorum(), changes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_types::Member;

    fn key(name: u8) -> PublicKeyBytes {
        PublicKeyBytes([name; 96])
    }

    fn address(name: u8) -> Address {
        Address::repeat_byte(name)
    }

    fn registration(name: u8, with: u8) -> (Address, Registration) {
        let (operator, public_key) = (address(name), key(with));
        let registration =
            Registration { operator, public_key, dispersal_url: String::new(), retrieval_url: String::new() };
        (operator, registration)
    }

    /// Operators 1 to 7 have seats 0 to 6; operators 8 and 9 have registered, too.
    fn scene() -> (Committee, HashMap<Address, Registration>) {
        let member = |name: u8| Member {
            operator: address(name),
            public_key: key(name),
            dispersal_url: String::new(),
            retrieval_url: String::new(),
        };
        let members = (1..=7).map(member).collect();
        let committee = Committee::new(1, Quorum::new(7, 3, 5).unwrap(), members, 0, 10, 20).unwrap();
        (committee, (1..=9).map(|name| registration(name, name)).collect())
    }

    #[test]
    fn exactly_the_seats_named_change_hands() {
        let (former, registered) = scene();
        let plan = |replacements: &[(u8, u8)]| {
            let replacements: Vec<_> =
                replacements.iter().map(|(seat, name)| (Seat(*seat), address(*name))).collect();
            Rotation::plan(&former, &replacements, &registered)
        };
        let rotation = plan(&[(2, 8), (6, 9)]).unwrap();
        assert_eq!(rotation.operators, [1, 2, 8, 4, 5, 6, 9].map(address));
        assert_eq!(rotation.changes.iter().map(|change| change.seat).collect::<Vec<_>>(), [Seat(2), Seat(6)]);
        assert_eq!((rotation.changes[0].from, rotation.changes[0].to.operator), (address(3), address(8)));
        // Two operators may exchange seats. That counts as two changes.
        assert_eq!(plan(&[(0, 2), (1, 1)]).unwrap().changes.len(), 2);

        assert_eq!(plan(&[]), Err(RotationError::Nothing));
        assert_eq!(plan(&[(7, 8)]), Err(RotationError::Seat { seat: Seat(7), n: 7 }));
        assert_eq!(plan(&[(1, 8), (1, 9)]), Err(RotationError::SeatTwice { seat: Seat(1) }));
        assert_eq!(plan(&[(1, 10)]), Err(RotationError::NotRegistered { operator: address(10) }));
        assert_eq!(
            plan(&[(1, 4)]),
            Err(RotationError::OperatorTwice { operator: address(4), first: Seat(1), second: Seat(3) })
        );
        assert_eq!(plan(&[(1, 2)]), Err(RotationError::Unchanged { seat: Seat(1) }));
        assert_eq!(plan(&[(0, 8), (1, 9), (2, 1)]), Err(RotationError::TooMany { got: 3, limit: 2 }));
    }

    #[test]
    fn a_key_is_changed_by_naming_its_seat() {
        let (former, mut registered) = scene();
        registered.extend([registration(4, 0x44)]);
        let rotation = Rotation::plan(&former, &[(Seat(3), address(4))], &registered).unwrap();
        assert_eq!(rotation.changes[0].to.public_key, key(0x44));
        // The change of seat was not asked for, and it counts towards the limit.
        assert_eq!(
            Rotation::plan(&former, &[(Seat(0), address(8))], &registered),
            Err(RotationError::OthersChange { seats: vec![Seat(3)] })
        );
        registered.extend([registration(4, 5)]);
        assert_eq!(
            Rotation::plan(&former, &[(Seat(3), address(4))], &registered),
            Err(RotationError::KeyTwice { first: Seat(3), second: Seat(4) })
        );
    }

    #[test]
    fn one_seat_may_always_change_hands() {
        let (former, _) = scene();
        assert_eq!(Rotation::limit(&former), 2);
        let tight =
            Committee::new(1, Quorum::new(7, 5, 5).unwrap(), former.members().to_vec(), 0, 10, 20).unwrap();
        assert_eq!(Rotation::limit(&tight), 1);
    }
}
