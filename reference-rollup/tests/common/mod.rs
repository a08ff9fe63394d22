//! Users, batches and claims for tests.
#![allow(dead_code, unreachable_pub)] // each test program uses its part

use alloy_primitives::Address;
use dac_types::{ClaimFields, Geometry, PublicClaim};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use reference_rollup::account::{AccountId, AccountIndex};
use reference_rollup::batch::{Batch, OpenBatch};
use reference_rollup::inbox::InboxEntry;
use reference_rollup::keys::SecretKey;
use reference_rollup::sequencer::Sequencer;
use reference_rollup::state::State;
use reference_rollup::transaction::{Destination, Domain, SignedTransaction, Transaction};

pub const CHAIN_ID: u64 = 31_337;
pub const SETTLEMENT: Address = Address::repeat_byte(0x5e);

pub fn domain() -> Domain {
    Domain::new(CHAIN_ID, SETTLEMENT)
}

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A user of the rollup.
pub struct User {
    pub key: SecretKey,
    pub recipient: Address,
}

impl User {
    pub fn new(number: u8) -> Self {
        Self { key: SecretKey::random(&mut rng(number.into())), recipient: Address::repeat_byte(number) }
    }

    pub fn id(&self) -> AccountId {
        self.key.public().account_id(self.recipient)
    }

    pub fn sign(&self, transaction: Transaction) -> SignedTransaction {
        transaction.sign(domain(), &self.key, self.recipient, &mut rng(99))
    }

    pub fn deposit(&self, amount: u64) -> InboxEntry {
        InboxEntry::Deposit { id: self.id(), amount }
    }
}

pub fn transfer(from: u32, nonce: u32, to: u32, amount: u64) -> Transaction {
    let (from, to) = (AccountIndex(from), Destination::Account(AccountIndex(to)));
    Transaction { from, nonce, to, amount }
}

pub fn withdrawal(from: u32, nonce: u32, recipient: Address, amount: u64) -> Transaction {
    Transaction { from: AccountIndex(from), nonce, to: Destination::L1(recipient), amount }
}

/// Alice at 1 and Bob at 2, with 1,000 and 500 gwei.
pub fn two_accounts() -> (State, User, User) {
    let (alice, bob) = (User::new(1), User::new(2));
    let mut state = State::default();
    state.take(alice.deposit(1_000)).unwrap();
    state.take(bob.deposit(500)).unwrap();
    (state, alice, bob)
}

/// A deposit for a new account, an exit request of Bob's, 16 transfers and a withdrawal on top of
/// [`two_accounts`].
pub fn busy_batch() -> Batch {
    let (mut state, alice, bob) = two_accounts();
    let carol = User::new(3);
    let mut batch = OpenBatch::new(&mut state, domain());
    batch.take(carol.deposit(77)).unwrap();
    let exit = InboxEntry::Exit { id: bob.id(), index: AccountIndex(2), recipient: bob.recipient };
    batch.take(exit).unwrap();
    for nonce in 0..8 {
        batch.include(&alice.sign(transfer(1, nonce, 2, 10))).unwrap();
        batch.include(&bob.sign(transfer(2, nonce, 3, 5))).unwrap();
    }
    batch.include(&alice.sign(withdrawal(1, 8, alice.recipient, 300))).unwrap();
    batch.close()
}

/// What L1 would claim of a batch whose payload a committee of 7 (k = 3) certified. For batches
/// that no sequencer would seal, too.
pub fn claim_fields(batch: &Batch, batch_number: u64) -> ClaimFields {
    let geometry = Geometry::new(7, 3).unwrap();
    let earlier = batch_number - 1;
    let mut sequencer = Sequencer::resume(CHAIN_ID, SETTLEMENT, State::default(), earlier, 0);
    sequencer.seal(batch.clone(), geometry).unwrap().claim.into_fields()
}

pub fn claim(batch: &Batch, batch_number: u64) -> PublicClaim {
    PublicClaim::new(claim_fields(batch, batch_number)).unwrap()
}
