//! Each rule of the rollup is broken twice: an honest sequencer refuses with an error of its own,
//! and the circuit has no proof for what a malicious sequencer writes down.
#![allow(missing_docs)]

mod common;

use ark_bn254::Fr;
use ark_ff::Zero;
use common::{CHAIN_ID, SETTLEMENT, User, claim, domain, rng, transfer, two_accounts, withdrawal};
use dac_types::{Address, PublicClaim};
use reference_rollup::account::{Account, AccountId, AccountIndex};
use reference_rollup::batch::{Batch, BatchError, OpenBatch, Roots};
use reference_rollup::circuit::batch::statement;
use reference_rollup::field;
use reference_rollup::inbox::{InboxEntry, Withdrawal};
use reference_rollup::prover::public_inputs;
use reference_rollup::shape::{ACCOUNTS_MAX, INBOX_SLOTS, PAYLOAD_BYTES, TRANSACTION_SLOTS};
use reference_rollup::state::{
    AccountUpdate, InboxError, InboxTrace, State, TransactionError, TransactionTrace,
};
use reference_rollup::transaction::{Domain, SignedTransaction};
use reference_rollup::tree::AccountTree;

// The sequencer

#[test]
fn the_sequencer_refuses_each_with_its_own_error() {
    let (state, alice, bob) = two_accounts();
    let at = AccountIndex;
    let other_domain = transfer(1, 0, 2, 10).sign(
        Domain::new(CHAIN_ID + 1, SETTLEMENT),
        &alice.key,
        alice.recipient,
        &mut rng(1),
    );
    let mut altered = alice.sign(transfer(1, 0, 2, 10));
    altered.transaction.amount = 11;
    let cases = [
        (alice.sign(transfer(9, 0, 2, 10)), TransactionError::UnknownSender { index: at(9) }),
        (alice.sign(transfer(0, 0, 2, 10)), TransactionError::UnknownSender { index: at(0) }),
        (alice.sign(transfer(1 << 16, 0, 2, 10)), TransactionError::UnknownSender { index: at(1 << 16) }),
        (alice.sign(transfer(1, 0, 9, 10)), TransactionError::UnknownReceiver { index: at(9) }),
        (alice.sign(transfer(1, 0, 1, 10)), TransactionError::SelfTransfer { index: at(1) }),
        (alice.sign(transfer(1, 1, 2, 10)), TransactionError::WrongNonce { got: 1, expected: 0 }),
        (
            alice.sign(transfer(1, 0, 2, 1_001)),
            TransactionError::InsufficientBalance { balance: 1_000, amount: 1_001 },
        ),
        (
            alice.sign(withdrawal(1, 0, alice.recipient, 1_001)),
            TransactionError::InsufficientBalance { balance: 1_000, amount: 1_001 },
        ),
        (bob.sign(transfer(1, 0, 2, 10)), TransactionError::WrongOwner { index: at(1) }),
        (other_domain, TransactionError::BadSignature),
        (altered, TransactionError::BadSignature),
    ];
    for (signed, error) in cases {
        let mut after = state.clone();
        assert_eq!(after.apply(domain(), &signed), Err(error));
        assert_eq!(after.root(), state.root(), "nothing has changed");
    }
}

#[test]
fn a_receiver_cannot_overflow() {
    let (mut state, alice, bob) = two_accounts();
    state.take(bob.deposit(u64::MAX - 500)).unwrap();
    let result = state.apply(domain(), &alice.sign(transfer(1, 0, 2, 1)));
    assert_eq!(result, Err(TransactionError::ReceiverOverflow { balance: u64::MAX, amount: 1 }));
    assert_eq!(state.take(bob.deposit(1)), Err(InboxError::Overflow { balance: u64::MAX, amount: 1 }));
}

/// After 2^32 − 1 transactions an account can send no more: the next nonce would be 0 again, and
/// old signatures good.
#[test]
fn nonces_run_out() {
    let (mut state, alice, _) = two_accounts();
    let mut payload = vec![0; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&1_u32.to_le_bytes());
    payload[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    payload[8..16].copy_from_slice(&1_000_u64.to_le_bytes());
    payload[16..48].copy_from_slice(&field::to_le_bytes(alice.id().0));
    state.apply_payload(&payload, &[]).unwrap();
    let last = alice.sign(transfer(1, u32::MAX, 2, 10));
    assert_eq!(state.apply(domain(), &last), Err(TransactionError::NoncesUsedUp));

    let (mut forger, alice, _) = Forger::new(500);
    let old = Account { id: alice.id(), nonce: u32::MAX, balance: 1_000 };
    forger.tree.set(AccountIndex(1), old);
    forger.before.accounts = forger.tree.root();
    assert!(!forger.transfer(last, 2).can_be_proved());
}

#[test]
fn replays_are_refused() {
    let (mut state, alice, _) = two_accounts();
    let signed = alice.sign(transfer(1, 0, 2, 10));
    state.apply(domain(), &signed).unwrap();
    assert_eq!(state.apply(domain(), &signed), Err(TransactionError::WrongNonce { got: 0, expected: 1 }));
}

#[test]
fn the_inbox_takes_only_what_has_a_place() {
    let (mut state, alice, _) = two_accounts();
    assert_eq!(
        state.take(InboxEntry::Deposit { id: AccountId(Fr::zero()), amount: 1 }),
        Err(InboxError::ZeroId)
    );
    for index in [0, 1 << 16] {
        let index = AccountIndex(index);
        let entry = InboxEntry::Exit { id: alice.id(), index, recipient: alice.recipient };
        assert_eq!(state.take(entry), Err(InboxError::IndexOutOfRange { index }));
    }
}

#[test]
fn an_exit_request_of_somebody_else_moves_nothing() {
    let (mut state, alice, _) = two_accounts();
    let before = state.accounts_root();
    let entry = InboxEntry::Exit { id: alice.id(), index: AccountIndex(2), recipient: alice.recipient };
    let trace = state.take(entry).unwrap();
    assert_eq!(trace.withdrawal, None);
    assert_eq!(state.accounts_root(), before);
    assert_ne!(state.inbox_head(), Fr::zero());
}

/// A malicious sequencer can open an account at the last place. The sequencer that takes over still
/// finds the empty places.
#[test]
fn an_account_at_the_last_place_fills_no_other() {
    let mut payload = vec![0; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&(ACCOUNTS_MAX - 1).to_le_bytes());
    payload[8..16].copy_from_slice(&1_u64.to_le_bytes());
    payload[16..48].copy_from_slice(&field::to_le_bytes(User::new(1).id().0));
    let mut state = State::default();
    state.apply_payload(&payload, &[]).unwrap();
    assert_eq!(state.take(User::new(2).deposit(5)).map(|trace| trace.update.index), Ok(AccountIndex(1)));
}

#[test]
fn a_full_batch_says_so() {
    let (mut state, alice, bob) = two_accounts();
    let mut batch = OpenBatch::new(&mut state, domain());
    for _ in 0..INBOX_SLOTS {
        batch.take(bob.deposit(1)).unwrap();
    }
    assert_eq!(batch.take(bob.deposit(1)), Err(BatchError::Full { slots: INBOX_SLOTS }));
    let slots = u32::try_from(TRANSACTION_SLOTS).unwrap();
    for nonce in 0..slots {
        batch.include(&alice.sign(transfer(1, nonce, 2, 1))).unwrap();
    }
    let more = alice.sign(transfer(1, slots, 2, 1));
    assert_eq!(batch.include(&more), Err(BatchError::Full { slots: TRANSACTION_SLOTS }));
}

// The circuit

/// A sequencer that writes down lies consistently: roots, paths, payload and hashes all fit them.
struct Forger {
    tree: AccountTree,
    before: Roots,
    inbox: Vec<InboxTrace>,
    transactions: Vec<TransactionTrace>,
    inbox_head: Fr,
}

impl Forger {
    fn new(bob_balance: u64) -> (Self, User, User) {
        let (alice, bob) = (User::new(1), User::new(2));
        let mut tree = AccountTree::default();
        tree.set(AccountIndex(1), Account { id: alice.id(), nonce: 0, balance: 1_000 });
        tree.set(AccountIndex(2), Account { id: bob.id(), nonce: 0, balance: bob_balance });
        let before = Roots { accounts: tree.root(), inbox: Fr::zero() };
        let forger =
            Self { tree, before, inbox: Vec::new(), transactions: Vec::new(), inbox_head: Fr::zero() };
        (forger, alice, bob)
    }

    fn update(&mut self, index: u32, change: impl Fn(&mut Account)) -> AccountUpdate {
        let index = AccountIndex(index);
        let before = self.tree.get(index);
        let mut after = before;
        change(&mut after);
        let path = self.tree.path(index);
        self.tree.set(index, after);
        AccountUpdate { index, before, after, path }
    }

    fn transfer(mut self, signed: SignedTransaction, to: u32) -> Self {
        let transaction = signed.transaction;
        let sender = self.update(transaction.from.0, |account| {
            account.nonce = account.nonce.wrapping_add(1);
            account.balance = account.balance.wrapping_sub(transaction.amount);
        });
        let receiver =
            self.update(to, |account| account.balance = account.balance.wrapping_add(transaction.amount));
        self.transactions.push(TransactionTrace { signed: Some(signed), sender, receiver, withdrawal: None });
        self
    }

    fn take(
        mut self,
        entry: InboxEntry,
        index: u32,
        withdrawal: Option<Withdrawal>,
        change: impl Fn(&mut Account),
    ) -> Self {
        let update = self.update(index, change);
        self.inbox_head = entry.head_after(self.inbox_head);
        self.inbox.push(InboxTrace { entry: Some(entry), update, withdrawal });
        self
    }

    /// Whether the lie can be proved.
    fn can_be_proved(mut self) -> bool {
        // Idle slots of the inbox come before transactions, so lies in transactions begin with a
        // full inbox of nothing.
        let idle_path = |forger: &Self| forger.tree.path(AccountIndex(0));
        let idle = |path| AccountUpdate {
            index: AccountIndex(0),
            before: Account::default(),
            after: Account::default(),
            path,
        };
        let path = match self.transactions.first() {
            Some(_) => {
                let (honest, ..) = Self::new(self.transactions[0].receiver.before.balance);
                let mut tree = honest.tree;
                tree.set(self.transactions[0].receiver.index, self.transactions[0].receiver.before);
                tree.set(self.transactions[0].sender.index, self.transactions[0].sender.before);
                tree.path(AccountIndex(0))
            }
            None => idle_path(&self),
        };
        self.inbox.resize_with(INBOX_SLOTS, || InboxTrace {
            entry: None,
            update: idle(path),
            withdrawal: None,
        });
        let path = idle_path(&self);
        self.transactions.resize_with(TRANSACTION_SLOTS, || TransactionTrace {
            signed: None,
            sender: idle(path),
            receiver: idle(path),
            withdrawal: None,
        });
        let batch = Batch {
            domain: domain(),
            before: self.before,
            after: Roots { accounts: self.tree.root(), inbox: self.inbox_head },
            inbox: self.inbox,
            transactions: self.transactions,
        };
        let claim: PublicClaim = claim(&batch, 1);
        statement(&batch, &claim, &public_inputs(&claim).unwrap()).0.unsatisfied().is_none()
    }
}

#[test]
fn the_circuit_refuses_forged_transactions() {
    // The forger can be believed: what is true, it proves.
    let (forger, alice, _) = Forger::new(500);
    assert!(forger.transfer(alice.sign(transfer(1, 0, 2, 10)), 2).can_be_proved());
    let (forger, alice, _) = Forger::new(500);
    assert!(forger.transfer(alice.sign(transfer(1, 0, 2, 1_000)), 2).can_be_proved());

    let (forger, alice, _) = Forger::new(500);
    assert!(!forger.transfer(alice.sign(transfer(1, 0, 2, 1_001)), 2).can_be_proved(), "negative balance");

    let (forger, alice, _) = Forger::new(u64::MAX);
    assert!(!forger.transfer(alice.sign(transfer(1, 0, 2, 1)), 2).can_be_proved(), "overflow");

    let (forger, alice, _) = Forger::new(500);
    assert!(!forger.transfer(alice.sign(transfer(1, 1, 2, 10)), 2).can_be_proved(), "wrong nonce");

    let (forger, alice, _) = Forger::new(500);
    assert!(!forger.transfer(alice.sign(transfer(1, 0, 1, 10)), 1).can_be_proved(), "self-transfer");

    let (forger, alice, _) = Forger::new(500);
    assert!(!forger.transfer(alice.sign(transfer(1, 0, 9, 10)), 9).can_be_proved(), "unknown receiver");

    let (forger, alice, _) = Forger::new(500);
    assert!(!forger.transfer(alice.sign(transfer(9, 0, 2, 0)), 2).can_be_proved(), "unknown sender");

    let (forger, _, bob) = Forger::new(500);
    assert!(!forger.transfer(bob.sign(transfer(1, 0, 2, 10)), 2).can_be_proved(), "somebody else's key");

    let (forger, alice, bob) = Forger::new(500);
    let mut stolen = alice.sign(transfer(1, 0, 2, 10));
    stolen.signature = bob.key.sign(stolen.transaction.message(domain()), &mut rng(5));
    assert!(!forger.transfer(stolen, 2).can_be_proved(), "somebody else's signature");

    let (forger, alice, _) = Forger::new(500);
    let mut altered = alice.sign(transfer(1, 0, 2, 10));
    altered.transaction.amount = 11;
    assert!(!forger.transfer(altered, 2).can_be_proved(), "altered");

    let (mut forger, alice, _) = Forger::new(500);
    let third = Account { id: User::new(3).id(), nonce: 0, balance: 0 };
    forger.tree.set(AccountIndex(3), third);
    forger.before.accounts = forger.tree.root();
    assert!(!forger.transfer(alice.sign(transfer(1, 0, 2, 10)), 3).can_be_proved(), "redirected");
}

#[test]
fn the_circuit_refuses_money_from_nowhere() {
    // A transfer of which only the receiver's half happens.
    let (mut forger, alice, _) = Forger::new(500);
    let signed = alice.sign(transfer(1, 0, 2, 10));
    let sender = forger.update(1, |_| {});
    let receiver = forger.update(2, |account| account.balance += 10);
    forger.transactions.push(TransactionTrace { signed: Some(signed), sender, receiver, withdrawal: None });
    assert!(!forger.can_be_proved(), "a payment that nobody made");

    // An unused slot that touches an account.
    let (mut forger, ..) = Forger::new(500);
    let sender = forger.update(1, |account| account.balance += 1);
    let receiver = forger.update(1, |_| {});
    forger.transactions.push(TransactionTrace { signed: None, sender, receiver, withdrawal: None });
    assert!(!forger.can_be_proved(), "a balance that grew");

    // A transfer that is granted on L1 as well.
    let (forger, alice, _) = Forger::new(500);
    let mut forger = forger.transfer(alice.sign(transfer(1, 0, 2, 10)), 2);
    forger.transactions[0].withdrawal = Some(Withdrawal { recipient: Address::ZERO, amount: 10 });
    assert!(!forger.can_be_proved(), "paid twice");
}

#[test]
fn the_circuit_refuses_forged_inboxes() {
    let deposit = |forger: Forger, user: &User, index, credited: u64| {
        let id = user.id();
        forger
            .take(user.deposit(10), index, None, move |account| {
                account.id = id;
                account.balance += credited;
            })
            .can_be_proved()
    };
    let (forger, alice, _) = Forger::new(500);
    assert!(deposit(forger, &alice, 1, 10));
    let (forger, ..) = Forger::new(500);
    assert!(deposit(forger, &User::new(3), 3, 10));
    let (forger, ..) = Forger::new(500);
    assert!(!deposit(forger, &User::new(3), 2, 10), "somebody else's place");
    let (forger, ..) = Forger::new(500);
    assert!(!deposit(forger, &User::new(3), 0, 10), "place 0");
    let (forger, alice, _) = Forger::new(500);
    assert!(!deposit(forger, &alice, 1, 11), "more than came");

    let exit = |forger: Forger, user: &User, index, paid: Option<u64>| {
        let entry = InboxEntry::Exit { id: user.id(), index: AccountIndex(index), recipient: user.recipient };
        let withdrawal = paid.map(|amount| Withdrawal { recipient: user.recipient, amount });
        forger
            .take(entry, index, withdrawal, move |account| {
                account.balance = account.balance.wrapping_sub(paid.unwrap_or(0));
            })
            .can_be_proved()
    };
    let (forger, alice, _) = Forger::new(500);
    assert!(exit(forger, &alice, 1, Some(1_000)));
    let (forger, alice, _) = Forger::new(500);
    assert!(
        exit(forger, &alice, 2, None),
        "a request for somebody else's account is taken, and moves nothing"
    );
    let (forger, alice, _) = Forger::new(500);
    assert!(!exit(forger, &alice, 1, None), "a request that is ignored");
    let (forger, alice, _) = Forger::new(500);
    assert!(!exit(forger, &alice, 1, Some(999)), "less than there is");
    let (forger, alice, _) = Forger::new(500);
    assert!(!exit(forger, &alice, 2, Some(500)), "somebody else's account");
}

/// L1 pays a withdrawal only to who can write down all of its batch. So a recipient must be an
/// address, and be published: a batch whose other withdrawals nobody can know would lock
/// everybody's.
#[test]
fn what_is_granted_can_be_written_down_by_everybody() {
    let to = Address::repeat_byte(0xab);
    let granting = |to: Address| {
        let (mut state, alice, bob) = two_accounts();
        let mut batch = OpenBatch::new(&mut state, domain());
        let exit = InboxEntry::Exit { id: bob.id(), index: AccountIndex(2), recipient: bob.recipient };
        batch.take(exit).unwrap();
        batch.include(&alice.sign(withdrawal(1, 0, to, 1))).unwrap();
        (exit, batch.close())
    };
    let (exit, batch) = granting(to);
    let (mut state, ..) = two_accounts();
    assert_eq!(state.apply_payload(&batch.payload(), &[exit]), Ok(batch.withdrawals()));
    assert_ne!(batch.payload(), granting(Address::repeat_byte(0xcd)).1.payload());
    // In the circuit its bits are variables, 160 of them; it is none itself, which could be any
    // field element.
    let claim = claim(&batch, 1);
    let (system, _) = statement(&batch, &claim, &public_inputs(&claim).unwrap());
    assert!(!system.assignment().contains(&field::from_address(to)));
}

/// Everybody must know which entry a slot's blocks belong to: no unused slot before a used one.
#[test]
fn used_slots_of_the_inbox_come_first() {
    let (mut forger, alice, _) = Forger::new(500);
    let idle = forger.update(0, |_| {});
    forger.inbox.push(InboxTrace { entry: None, update: idle, withdrawal: None });
    let late = forger.take(alice.deposit(10), 1, None, |account| account.balance += 10);
    assert!(!late.can_be_proved());
}

#[test]
fn an_entry_cannot_be_left_out() {
    // The inbox's head that L1 holds has the entry; the batch does not.
    let mut state = State::default();
    let user = User::new(1);
    let mut batch = OpenBatch::new(&mut state, domain()).close();
    batch.after.inbox = user.deposit(5).head_after(Fr::zero());
    let claim = claim(&batch, 1);
    assert!(statement(&batch, &claim, &public_inputs(&claim).unwrap()).0.unsatisfied().is_some());
}
