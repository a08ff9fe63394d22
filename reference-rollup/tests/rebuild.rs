//! The state rebuilt from payloads and L1's history is the sequencer's, and every account can leave
//! with it. Each payload or entry that is left out or changed is noticed and named.
#![allow(missing_docs, clippy::cast_possible_truncation)] // numbers are small

mod common;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use common::{User, domain, rng, transfer, withdrawal};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::RngCore as _;
use reference_rollup::account::AccountIndex;
use reference_rollup::batch::OpenBatch;
use reference_rollup::exit::{ExitProof, ExitProofFault, NoExit, Owner, accounts_of, exit_proof};
use reference_rollup::field;
use reference_rollup::inbox::InboxEntry;
use reference_rollup::payload::PayloadError;
use reference_rollup::rebuild::{BatchRecord, History, InboxRecord, RebuildError, Rebuilder, rebuild};
use reference_rollup::shape::{INBOX_SLOTS, PAYLOAD_BYTES, TRANSACTION_SLOTS};
use reference_rollup::state::State;

/// A rollup's life: what L1 and the committee have of it, and its sequencer's state.
struct Life {
    users: Vec<User>,
    state: State,
    history: History,
    payloads: BTreeMap<u64, Vec<u8>>,
}

fn below(rng: &mut ChaCha20Rng, limit: usize) -> usize {
    (rng.next_u64() % limit as u64) as usize
}

impl Life {
    fn new(users: u8) -> Self {
        let users = (1..=users).map(User::new).collect();
        Self { users, state: State::default(), history: History::default(), payloads: BTreeMap::new() }
    }

    /// Entries that L1 has; batches take them later.
    fn append(&mut self, entry: InboxEntry) {
        let former = self.history.inbox.last().map_or(B256::ZERO, |record| record.head);
        let head = field::to_b256(entry.head_after(field::from_b256(former).unwrap()));
        let number = self.history.inbox.len() as u64 + 1;
        self.history.inbox.push(InboxRecord { number, entry, head });
    }

    fn input(&mut self, rng: &mut ChaCha20Rng) {
        let user = &self.users[below(rng, self.users.len())];
        let entry = if below(rng, 3) > 0 {
            InboxEntry::Deposit { id: user.id(), amount: 1 + rng.next_u64() % 1_000_000 }
        } else {
            // Often the wrong place, sometimes one that nobody has.
            let index = AccountIndex(1 + below(rng, self.users.len() + 2) as u32);
            InboxEntry::Exit { id: user.id(), index, recipient: user.recipient }
        };
        self.append(entry);
    }

    fn batch(&mut self, rng: &mut ChaCha20Rng) {
        let waiting = &self.history.inbox[self.taken() as usize..];
        let inputs: Vec<_> = waiting.iter().take(below(rng, INBOX_SLOTS + 1)).copied().collect();
        let mut batch = OpenBatch::new(&mut self.state, domain());
        for input in &inputs {
            batch.take(input.entry).unwrap();
        }
        for _ in 0..below(rng, TRANSACTION_SLOTS / 2) {
            let user = &self.users[below(rng, self.users.len())];
            let Some(from) = batch.state().find(user.id()) else { continue };
            let nonce = batch.state().account(from).nonce;
            let amount = rng.next_u64() % 300_000;
            let transaction = if below(rng, 4) == 0 {
                withdrawal(from.0, nonce, Address::repeat_byte(9), amount)
            } else {
                transfer(from.0, nonce, 1 + below(rng, self.users.len()) as u32, amount)
            };
            // What the rules refuse is not in the batch.
            let _ = batch.include(&user.sign(transaction));
        }
        let closed = batch.close();
        let number = self.history.batches.len() as u64 + 1;
        let taken = self.taken() + inputs.len() as u64;
        assert_eq!(closed.inputs_taken(), inputs.len() as u64);
        self.history.batches.push(BatchRecord {
            number,
            digest: B256::from(U256::from(number)),
            new_state_root: field::to_b256(self.state.root()),
            inputs_consumed: taken,
            outputs: field::to_b256(closed.outputs()),
        });
        self.payloads.insert(number, closed.payload());
    }

    fn taken(&self) -> u64 {
        self.history.batches.last().map_or(0, |batch| batch.inputs_consumed)
    }

    fn lived(seed: u64, batches: usize) -> Self {
        let mut rng = rng(seed);
        let mut life = Self::new(5);
        life.append(life.users[0].deposit(1_000_000));
        life.append(life.users[1].deposit(500));
        for _ in 0..batches {
            for _ in 0..below(&mut rng, 3) {
                life.input(&mut rng);
            }
            life.batch(&mut rng);
        }
        // Go on until there are two accounts.
        while life.taken() < 2 {
            life.batch(&mut rng);
        }
        life
    }

    fn owner(&self, user: usize) -> Owner {
        Owner { key: self.users[user].key.public(), recipient: self.users[user].recipient }
    }

    fn root(&self) -> B256 {
        field::to_b256(self.state.root())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_is_rebuilt_is_the_sequencers_state_and_everybody_can_leave(seed: u64, batches in 1_usize..8) {
        let life = Life::lived(seed, batches);
        let rebuilt = rebuild(&life.payloads, &life.history).unwrap().state;
        prop_assert_eq!(rebuilt.root(), life.state.root());
        prop_assert_eq!(rebuilt.accounts(), life.state.accounts());
        let mut leavers = 0;
        for user in 0..life.users.len() {
            let owner = life.owner(user);
            for index in accounts_of(&rebuilt, owner.id()) {
                let proof = exit_proof(&rebuilt, index, &owner).unwrap();
                prop_assert_eq!(proof.check(life.root()), Ok(()));
                prop_assert_eq!(proof.balance, life.state.account(index).balance);
                leavers += 1;
            }
        }
        prop_assert_eq!(leavers, rebuilt.accounts().len());
    }

    #[test]
    fn a_changed_payload_never_leads_to_what_settled(seed: u64, bit in 0..PAYLOAD_BYTES * 8, which: u8) {
        let mut life = Life::lived(seed, 4);
        let batch = 1 + u64::from(which) % life.payloads.len() as u64;
        life.payloads.get_mut(&batch).unwrap()[bit / 8] ^= 1 << (bit % 8);
        match rebuild(&life.payloads, &life.history).map(|_| ()) {
            // To whom a withdrawal goes says nothing about the state, only about what is granted.
            Err(
                RebuildError::WrongRoot { batch: named, .. }
                | RebuildError::WrongOutputs { batch: named, .. }
                | RebuildError::Payload { batch: named, .. },
            ) => {
                prop_assert_eq!(named, batch);
            }
            // The former state of an account that a later slot of the same batch touches again says
            // nothing about the end.
            Ok(()) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn a_changed_proof_leads_elsewhere(seed: u64, level in 0_usize..8, sibling in 0_usize..3, bit in 0_usize..253) {
        let life = Life::lived(seed, 2);
        let owner = life.owner(0);
        let index = accounts_of(&life.state, owner.id())[0];
        let good = exit_proof(&life.state, index, &owner).unwrap();
        let mutations: [&dyn Fn(&mut ExitProof); 9] = [
            &|proof| proof.account_index ^= 1 << (level * 2),
            &|proof| proof.nonce ^= 1 << (bit % 32),
            &|proof| proof.balance ^= 1 << (bit % 64),
            &|proof| proof.key_x ^= U256::ONE << bit,
            &|proof| proof.key_y ^= U256::ONE << bit,
            &|proof| proof.recipient.0[bit % 20] ^= 1,
            &|proof| proof.siblings[level][sibling] ^= U256::ONE << bit,
            &|proof| proof.inbox_head ^= U256::ONE << bit,
            &|proof| (proof.balance, proof.nonce) = (u64::from(proof.nonce), 0),
        ];
        for (number, mutate) in mutations.iter().enumerate() {
            let mut bad = good;
            mutate(&mut bad);
            if bad != good {
                prop_assert!(bad.check(life.root()).is_err(), "mutation {}", number);
            }
        }
    }
}

fn rebuild_error(life: &Life) -> RebuildError {
    rebuild(&life.payloads, &life.history).map(|_| ()).unwrap_err()
}

#[test]
fn what_is_missing_is_named() {
    let mut life = Life::lived(3, 4);
    life.payloads.remove(&2);
    let digest = B256::from(U256::from(2));
    assert_eq!(rebuild_error(&life), RebuildError::MissingPayload { batch: 2, digest });

    let mut life = Life::lived(3, 4);
    life.payloads.insert(5, vec![0; PAYLOAD_BYTES]);
    assert_eq!(rebuild_error(&life), RebuildError::NotSettled { batch: 5, settled: 4 });
    assert!(matches!(
        Rebuilder::new(&History::default()).unwrap().apply(&[]).map(|_| ()),
        Err(RebuildError::NotSettled { batch: 1, settled: 0 })
    ));

    let mut life = Life::lived(3, 4);
    life.history.batches.remove(1);
    assert_eq!(rebuild_error(&life), {
        life.payloads.remove(&4);
        RebuildError::NotSettled { batch: 4, settled: 3 }
    });
    assert_eq!(rebuild_error(&life), RebuildError::BatchOrder { expected: 2, got: 3 });

    let mut life = Life::lived(3, 4);
    life.history.inbox.remove(0);
    assert_eq!(rebuild_error(&life), RebuildError::InboxOrder { expected: 1, got: 2 });
}

#[test]
fn payloads_of_another_length_are_refused() {
    for length in [0, PAYLOAD_BYTES - 1, PAYLOAD_BYTES + 1] {
        let mut life = Life::lived(4, 3);
        life.payloads.get_mut(&2).unwrap().resize(length, 0);
        let source = PayloadError::Length { got: length };
        assert_eq!(rebuild_error(&life), RebuildError::Payload { batch: 2, source });
    }
}

#[test]
fn payloads_of_other_batches_are_refused() {
    let mut life = Life::new(2);
    life.append(life.users[0].deposit(1));
    life.append(life.users[1].deposit(2));
    let mut rng = rng(5);
    while life.taken() < 2 {
        life.batch(&mut rng);
    }
    let first = life.history.batches.iter().find(|batch| batch.inputs_consumed > 0).unwrap().number;
    life.payloads.insert(first, vec![0; PAYLOAD_BYTES]);
    assert!(matches!(rebuild_error(&life), RebuildError::WrongRoot { batch, .. } if batch == first));
}

#[test]
fn an_inbox_that_does_not_hash_to_its_heads_is_refused() {
    let mut life = Life::lived(6, 3);
    let InboxEntry::Deposit { amount, .. } = &mut life.history.inbox[1].entry else { panic!("a deposit") };
    *amount += 1;
    assert!(matches!(rebuild_error(&life), RebuildError::InboxHead { number: 2, .. }));
}

#[test]
fn an_inbox_that_batches_cannot_have_taken_is_refused() {
    let mut life = Life::lived(7, 3);
    let known = life.history.inbox.len() as u64;
    life.history.batches[2].inputs_consumed = known + 1;
    let got = known + 1;
    assert_eq!(rebuild_error(&life), RebuildError::InputsMissing { batch: 3, got, known });

    let mut life = Life::lived(7, 3);
    life.history.batches[1].inputs_consumed = 0;
    life.history.batches[0].inputs_consumed = 1;
    // The first batch took one entry or none, so one of the two errors is due.
    assert!(matches!(
        rebuild_error(&life),
        RebuildError::WrongRoot { batch: 1, .. } | RebuildError::InputsGoBack { batch: 2, got: 0, before: 1 }
    ));
}

#[test]
fn a_wrong_root_is_noticed_after_the_batch_that_has_it() {
    let mut life = Life::lived(8, 4);
    let settled = life.history.batches[2].new_state_root;
    life.history.batches[2].new_state_root = B256::ZERO;
    let expected = B256::ZERO;
    assert_eq!(rebuild_error(&life), RebuildError::WrongRoot { batch: 3, got: settled, expected });
}

#[test]
fn only_owners_get_a_proof() {
    let life = Life::lived(9, 3);
    let index = accounts_of(&life.state, life.owner(0).id())[0];
    assert_eq!(exit_proof(&life.state, index, &life.owner(1)), Err(NoExit::NotOwner { index }));
    let nobody = Owner { recipient: Address::ZERO, ..life.owner(0) };
    assert_eq!(exit_proof(&life.state, index, &nobody), Err(NoExit::NotOwner { index }));
    for index in [0, 60_000, 65_536, u32::MAX].map(AccountIndex) {
        assert_eq!(exit_proof(&life.state, index, &life.owner(0)), Err(NoExit::NoAccount { index }));
    }
}

#[test]
fn values_with_two_meanings_are_refused() {
    let life = Life::lived(10, 2);
    let owner = life.owner(0);
    let good = exit_proof(&life.state, accounts_of(&life.state, owner.id())[0], &owner).unwrap();
    let order = U256::from_be_bytes(dac_types::BN254_ORDER.0);
    let aliased = ExitProof { key_x: good.key_x + order, ..good };
    assert_eq!(aliased.state_root(), Err(ExitProofFault::NotInField { value: good.key_x + order }));
    // The same leaf, counted around the tree once more.
    for got in [0, good.account_index + 65_536] {
        let aliased = ExitProof { account_index: got, ..good };
        assert_eq!(aliased.state_root(), Err(ExitProofFault::AccountIndex { got }));
    }
}

#[test]
fn the_empty_state_is_the_contracts_genesis() {
    let genesis = alloy_primitives::b256!("1892bc781e7bf3a640f3b60813cef79eaf4307084fd4199a114421576e85d515");
    assert_eq!(field::to_b256(rebuild(&BTreeMap::new(), &History::default()).unwrap().state.root()), genesis);
}
