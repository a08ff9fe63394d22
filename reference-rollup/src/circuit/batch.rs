//! The statement: these slots lead from the old root to the new one, and the committee's payload is
//! what they publish.

use ark_bn254::Fr;
use ark_ff::{One, Zero};
use dac_types::PublicClaim;
use dac_types::limits::BLOCK_BYTES;

use crate::account::{Account, AccountIndex};
use crate::batch::Batch;
use crate::circuit::curve::Point;
use crate::circuit::fingerprint::{self, ELEMENT_BITS, Element};
use crate::circuit::poseidon;
use crate::circuit::signature;
use crate::circuit::system::{Bit, System, Weight, Wire, pack};
use crate::circuit::tree;
use crate::field;
use crate::inbox::{EXIT_SHIFT, INDEX_SHIFT, InboxEntry};
use crate::keys::{PublicKey, SecretKey, Signature};
use crate::shape::{HASH_STEP_BLOCKS, PAYLOAD_BLOCKS, PAYLOAD_BYTES, POINTS, TREE_DEPTH};
use crate::state::{AccountUpdate, InboxTrace, TransactionTrace};
use crate::transaction::{Destination, Domain, Transaction, two_to};

const INDEX_BITS: usize = 2 * TREE_DEPTH;
const NONCE_BITS: usize = 32;
const AMOUNT_BITS: usize = 64;
const ADDRESS_BITS: usize = 160;

/// What the parts of the statement weigh.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// All of it.
    pub total: Weight,
    /// The payload's fingerprints: what the binding to the committee's data costs.
    pub fingerprints: Weight,
    /// The payload's hash.
    pub batch_hash: Weight,
    /// The transactions.
    pub transactions: Weight,
    /// The inbox.
    pub inbox: Weight,
}

/// Writes the statement for a batch, as `claim` puts it. What is not true of the batch makes it
/// unsatisfiable.
///
/// # Panics
/// On a claim for another number of points than [`POINTS`]: a key belongs to one number of points.
pub fn statement(batch: &Batch, claim: &PublicClaim, public: &[Fr]) -> (System, Report) {
    assert_eq!(claim.point_count(), POINTS, "the circuit is made for {POINTS} points");
    let (mut circuit, inputs) = System::new(public);
    let system = &mut circuit;
    let [old_root, new_root, batch_hash, l1_inputs, l1_outputs] = &inputs[..5] else {
        unreachable!("five roots and hashes come first")
    };
    let context = Context::new(system, claim, batch.domain, &inputs[5..]);

    // Where the batch begins.
    let mut roots = Roots {
        accounts: system.variable(batch.before.accounts),
        inbox: system.variable(batch.before.inbox),
        outputs: Wire::zero(),
    };
    let old = poseidon::hash(system, &[&roots.accounts, &roots.inbox]);
    system.equal(&old, old_root);

    let start = system.weight();
    let mut blocks = Vec::with_capacity(PAYLOAD_BLOCKS);
    let mut before = Bit::constant(true);
    for slot in &batch.inbox {
        let active = inbox_slot(system, slot, &mut roots, &mut blocks);
        // Used slots come first, so that everybody knows which entry a slot's blocks belong to.
        system.enforce(active.wire(), before.not().wire(), &Wire::zero());
        before = active;
    }
    let inbox_end = system.weight();
    for slot in &batch.transactions {
        transaction_slot(system, slot, batch.domain, &context.domain, &mut roots, &mut blocks);
    }
    let transactions_end = system.weight();

    // Where it ends.
    let new = poseidon::hash(system, &[&roots.accounts, &roots.inbox]);
    system.equal(&new, new_root);
    system.equal(&roots.inbox, l1_inputs);
    system.equal(&roots.outputs, l1_outputs);

    // What it publishes.
    let hash_start = system.weight();
    assert_eq!(blocks.len(), PAYLOAD_BLOCKS);
    let mut hash = Wire::constant(PAYLOAD_BYTES as u64);
    for step in blocks.chunks(HASH_STEP_BLOCKS) {
        let packed: Vec<Wire> = step.iter().map(|block| pack(block)).collect();
        let mut inputs = vec![&hash];
        inputs.extend(&packed);
        hash = poseidon::hash(system, &inputs);
    }
    system.equal(&hash, batch_hash);
    let hash_end = system.weight();

    let blocks: Vec<Element> = blocks.into_iter().map(|bits| Element::new(system, bits)).collect();
    for (point, value) in context.points.into_iter().zip(&context.fingerprint) {
        let evaluated = fingerprint::evaluate(system, &blocks, point);
        system.equal(&pack(&evaluated), &pack(value));
    }
    let total = system.weight();
    let report = Report {
        total,
        fingerprints: total - hash_end,
        batch_hash: hash_end - hash_start,
        transactions: transactions_end - inbox_end,
        inbox: inbox_end - start,
    };
    (circuit, report)
}

/// The packed context, taken apart.
struct Context {
    points: Vec<Vec<Bit>>,
    fingerprint: Vec<Vec<Bit>>,
    domain: Wire,
}

impl Context {
    /// points ‖ fingerprint ‖ u64 number ‖ u32 length ‖ domain in pieces of 31 bytes, each a
    /// little-endian integer.
    fn new(system: &mut System, claim: &PublicClaim, domain: Domain, pieces: &[Wire]) -> Self {
        let fields = claim.fields();
        let mut bits_of = |bytes: &[u8]| -> Vec<Bit> {
            bytes
                .iter()
                .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
                .map(|bit| system.bit(bit))
                .collect()
        };
        let points: Vec<_> = fields.points.chunks(BLOCK_BYTES).map(&mut bits_of).collect();
        let fingerprint: Vec<_> = fields.payload_fingerprint.chunks(BLOCK_BYTES).map(&mut bits_of).collect();
        // Nothing is computed from the number; it is there so that no other one can be claimed.
        let number = bits_of(&fields.batch_number.to_be_bytes());
        let domain = bits_of(&domain.0);
        // Every payload has this length.
        let length = u32::try_from(PAYLOAD_BYTES).expect("hundreds of bytes").to_be_bytes();
        let length =
            length.iter().flat_map(|byte| (0..8).map(move |bit| Bit::constant(byte >> bit & 1 == 1)));

        let mut stream: Vec<Bit> = points.iter().chain(&fingerprint).flatten().cloned().collect();
        stream.extend(number);
        stream.extend(length);
        stream.extend_from_slice(&domain);
        for (piece, bits) in pieces.iter().zip(stream.chunks(31 * 8)) {
            system.equal(&pack(bits), piece);
        }
        assert_eq!(pieces.len(), stream.len().div_ceil(31 * 8));
        Self { points, fingerprint, domain: pack(&domain) }
    }
}

/// What goes from slot to slot.
struct Roots {
    accounts: Wire,
    inbox: Wire,
    outputs: Wire,
}

/// An account's fields as wires, nonce and balance in their range.
struct AccountWires {
    id: Wire,
    nonce: Wire,
    nonce_bits: Vec<Bit>,
    balance: Wire,
    balance_bits: Vec<Bit>,
}

impl AccountWires {
    fn witness(system: &mut System, account: &Account) -> Self {
        let id = system.variable(account.id.0);
        let nonce_bits = system.free_bits(Fr::from(account.nonce), NONCE_BITS);
        let balance_bits = system.free_bits(Fr::from(account.balance), AMOUNT_BITS);
        let (nonce, balance) = (pack(&nonce_bits), pack(&balance_bits));
        Self { id, nonce, nonce_bits, balance, balance_bits }
    }

    /// With fields that follow from others; the ranges are checked.
    fn computed(system: &mut System, id: Wire, nonce: &Wire, balance: &Wire) -> Self {
        let nonce_bits = system.bits(nonce, NONCE_BITS);
        let balance_bits = system.bits(balance, AMOUNT_BITS);
        let (nonce, balance) = (pack(&nonce_bits), pack(&balance_bits));
        Self { id, nonce, nonce_bits, balance, balance_bits }
    }

    fn leaf(&self, system: &mut System) -> Wire {
        let packed = self.balance.plus(&self.nonce, two_to(64));
        poseidon::hash(system, &[&self.id, &packed])
    }

    /// u32 index | u32 nonce | u64 balance.
    fn block(&self, index: &[Bit]) -> Vec<Bit> {
        let mut bits = index.to_vec();
        bits.resize(32, Bit::constant(false));
        bits.extend_from_slice(&self.nonce_bits);
        bits.extend_from_slice(&self.balance_bits);
        assert_eq!(bits.len(), ELEMENT_BITS);
        bits
    }
}

/// Replaces an account in the tree of `roots`.
fn replace(
    system: &mut System,
    roots: &mut Roots,
    update: &AccountUpdate,
    index: &[Bit],
    before: &AccountWires,
    after: &AccountWires,
) {
    let (before, after) = (before.leaf(system), after.leaf(system));
    let (root, next) = tree::replace(system, index, &update.path, before, after);
    system.equal(&root, &roots.accounts);
    roots.accounts = next;
}

/// Appends a withdrawal to the outputs if the flag is set.
fn grant(system: &mut System, roots: &mut Roots, flag: &Bit, recipient: &Wire, amount: &Wire) {
    let next = poseidon::hash(system, &[&roots.outputs, recipient, amount]);
    roots.outputs = system.select(flag, &next, &roots.outputs);
}

/// One entry of the inbox, or nothing; whether it is used.
fn inbox_slot(system: &mut System, slot: &InboxTrace, roots: &mut Roots, blocks: &mut Vec<Vec<Bit>>) -> Bit {
    let update = &slot.update;
    let is_exit = matches!(slot.entry, Some(InboxEntry::Exit { .. }));
    let deposit = system.bit(matches!(slot.entry, Some(InboxEntry::Deposit { .. })));
    let exit = system.bit(is_exit);
    // At most one of the two; their sum is a bit then.
    system.enforce(deposit.wire(), exit.wire(), &Wire::zero());
    let active = system.bit(slot.entry.is_some());
    system.equal(&(deposit.wire() + exit.wire()), active.wire());
    let idle = active.not();

    let index = system.free_bits(Fr::from(update.index.0), INDEX_BITS);
    let index_wire = pack(&index);
    // Place 0 is for slots that do nothing, and for them only.
    system.nonzero_if(&index_wire, &active);
    system.enforce(&index_wire, idle.wire(), &Wire::zero());

    let id = system.variable(slot.entry.map_or(Fr::zero(), |entry| entry.id().0));
    system.enforce(&id, idle.wire(), &Wire::zero());
    let (amount, recipient) = match slot.entry {
        Some(InboxEntry::Deposit { amount, .. }) => (amount, Fr::zero()),
        Some(InboxEntry::Exit { recipient, .. }) => (0, field::from_address(recipient)),
        None => (0, Fr::zero()),
    };
    let amount_bits = system.free_bits(Fr::from(amount), AMOUNT_BITS);
    let amount = pack(&amount_bits);
    // Nothing is deposited but by a deposit.
    system.enforce(&amount, deposit.not().wire(), &Wire::zero());
    let recipient_bits = system.free_bits(recipient, ADDRESS_BITS);
    let recipient = pack(&recipient_bits);
    system.enforce(&recipient, exit.not().wire(), &Wire::zero());

    // The entry, as L1 chained it.
    let exit_word =
        recipient.plus(&index_wire, two_to(INDEX_SHIFT)).plus(&Wire::constant(1_u8), two_to(EXIT_SHIFT));
    let word = &system.product(exit.wire(), &exit_word) + &amount;
    let head = poseidon::hash(system, &[&roots.inbox, &id, &word]);
    roots.inbox = system.select(&active, &head, &roots.inbox);

    // A deposit goes to nobody's place or to its own; an exit request is served if the account is
    // the one it names.
    let before = AccountWires::witness(system, &update.before);
    let other = &before.id - &id;
    let foreign = system.product(&before.id, &other);
    system.enforce(deposit.wire(), &foreign, &Wire::zero());
    let same = system.is_zero(&other);
    let served = system.and(&exit, &same);
    let paid = system.product(served.wire(), &before.balance);
    grant(system, roots, &served, &recipient, &paid);

    let new_id = system.select(&deposit, &id, &before.id);
    let balance = &(&before.balance + &amount) - &paid;
    let after = AccountWires::computed(system, new_id, &before.nonce, &balance);
    replace(system, roots, update, &index, &before, &after);

    let mut id_bits = system.canonical_bits(&after.id);
    id_bits.resize(2 * ELEMENT_BITS, Bit::constant(false));
    let high = id_bits.split_off(ELEMENT_BITS);
    blocks.extend([after.block(&index), id_bits, high]);
    active
}

/// The witness of a transaction slot: what was signed, or what fills an unused one.
struct Signed {
    transaction: Transaction,
    key: PublicKey,
    exit_recipient: Fr,
    signature: Signature,
}

impl Signed {
    /// An unused slot carries a signature all the same, by a key that everybody knows and that
    /// opens no account: so nothing in the signature's check depends on whether the slot is used.
    fn of(slot: &TransactionTrace, domain: Domain) -> Self {
        if let Some(signed) = slot.signed {
            return Self {
                transaction: signed.transaction,
                key: signed.key,
                exit_recipient: field::from_address(signed.exit_recipient),
                signature: signed.signature,
            };
        }
        let nobody = AccountIndex(0);
        let transaction = Transaction { from: nobody, nonce: 0, to: Destination::Account(nobody), amount: 0 };
        let filler = SecretKey::filler();
        let signature = filler.sign_with(transaction.message(domain), &SecretKey::filler());
        Self { transaction, key: filler.public(), exit_recipient: Fr::zero(), signature }
    }
}

/// One transaction, or nothing.
fn transaction_slot(
    system: &mut System,
    slot: &TransactionTrace,
    domain: Domain,
    domain_wire: &Wire,
    roots: &mut Roots,
    blocks: &mut Vec<Vec<Bit>>,
) {
    let signed = Signed::of(slot, domain);
    let transaction = &signed.transaction;
    let l1_recipient = match transaction.to {
        Destination::Account(_) => Fr::zero(),
        Destination::L1(address) => field::from_address(address),
    };
    let transfer = system.bit(slot.signed.is_some() && slot.withdrawal.is_none());
    let withdrawal = system.bit(slot.withdrawal.is_some());
    system.enforce(transfer.wire(), withdrawal.wire(), &Wire::zero());
    let active = transfer.wire() + withdrawal.wire();
    let idle = &Wire::constant(1_u8) - &active;

    let from = system.free_bits(Fr::from(transaction.from.0), INDEX_BITS);
    let to = system.free_bits(Fr::from(slot.receiver.index.0), INDEX_BITS);
    let (from_wire, to_wire) = (pack(&from), pack(&to));
    // An unused slot has place 0 and moves nothing. (In a used slot, the sender's place opens to
    // the id of an account, below.)
    system.enforce(&from_wire, &idle, &Wire::zero());
    let amount_bits = system.free_bits(Fr::from(transaction.amount), AMOUNT_BITS);
    let amount = pack(&amount_bits);
    system.enforce(&amount, &idle, &Wire::zero());
    // A transfer goes to another account; all other kinds stay at the sender's.
    let distance = &to_wire - &from_wire;
    system.nonzero_if(&distance, &transfer);
    system.enforce(&distance, transfer.not().wire(), &Wire::zero());
    // An address: L1 could not name anything longer, and would pay nothing of the whole batch. Zero
    // unless money leaves.
    let recipient_bits = system.free_bits(l1_recipient, ADDRESS_BITS);
    let recipient = pack(&recipient_bits);
    system.enforce(&recipient, withdrawal.not().wire(), &Wire::zero());

    // The sender pays.
    let sender = AccountWires::witness(system, &slot.sender.before);
    let key = Point::witness(system, &signed.key.0);
    let exit_recipient = system.variable(signed.exit_recipient);
    let id = poseidon::hash(system, &[&key.x, &key.y, &exit_recipient]);
    system.enforce(&active, &(&id - &sender.id), &Wire::zero());
    let debited = AccountWires::computed(
        system,
        sender.id.clone(),
        &(&sender.nonce + &active),
        &(&sender.balance - &amount),
    );
    replace(system, roots, &slot.sender, &from, &sender, &debited);

    // The receiver is paid, unless the money leaves.
    let credit = system.product(transfer.wire(), &amount);
    let receiver = AccountWires::witness(system, &slot.receiver.before);
    system.nonzero_if(&receiver.id, &transfer);
    let credited =
        AccountWires::computed(system, receiver.id.clone(), &receiver.nonce, &(&receiver.balance + &credit));
    replace(system, roots, &slot.receiver, &to, &receiver, &credited);
    grant(system, roots, &withdrawal, &recipient, &amount);

    // The sender signed exactly this.
    let fields = Wire::sum([
        (&from_wire, Fr::one()),
        (&to_wire, two_to(32)),
        (&sender.nonce, two_to(64)),
        (&amount, two_to(96)),
        (withdrawal.wire(), two_to(160)),
    ]);
    let message = poseidon::hash(system, &[domain_wire, &fields, &recipient]);
    signature::verify(system, &key, &message, &signed.signature);

    // u32 index, withdrawal in its top bit | recipient / 2^128 | u64 balance, and the receiver's
    // state or the rest of the recipient.
    let mut first = from;
    first.resize(31, Bit::constant(false));
    first.push(withdrawal);
    first.extend_from_slice(&recipient_bits[ELEMENT_BITS..]);
    first.extend_from_slice(&debited.balance_bits);
    let second = credited.block(&to).into_iter().zip(&recipient_bits).map(|(state, recipient)| {
        if state.is_never() {
            return recipient.clone();
        }
        // The recipient's bits are zero unless money leaves.
        system.and(&transfer, &state).or_exclusive(recipient)
    });
    let second = second.collect();
    blocks.extend([first, second]);
}
