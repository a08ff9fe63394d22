//! Measures the reference rollup's proof of a full batch: the size of the circuit and its parts,
//! the time of setup, witness and proof on all cores, and the process's peak memory, which includes
//! the keys.
//!
//! `cargo bench -p dac-bench --features micro --bench proving`

use std::fs;
use std::time::Instant;

use dac_bench::Timing;
use dac_bench::report::{self, Figure};
use dac_types::{Address, Geometry};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use reference_rollup::account::AccountIndex;
use reference_rollup::circuit::batch::statement;
use reference_rollup::circuit::system::Weight;
use reference_rollup::inbox::InboxEntry;
use reference_rollup::keys::SecretKey;
use reference_rollup::prover::{self, Keys, public_inputs};
use reference_rollup::sequencer::{Sealed, Sequencer};
use reference_rollup::shape::TRANSACTION_SLOTS;
use reference_rollup::transaction::{Destination, Transaction};

const RUNS: usize = 5;
/// The goal: the longest time of one proof, in seconds, on the machine of the first report.
const PROOF_MAX_SECONDS: f64 = 30.0;
const MEMORY_MAX_MIB: f64 = 4096.0;
const USERS: u8 = 3;

/// Returns a batch of three users, two of whom exist before it, with a deposit, an exit request,
/// transfers in a circle, and a withdrawal at the end.
fn full_batch() -> Sealed {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let geometry = Geometry::new(7, 3).expect("valid");
    let keys: Vec<_> = (0..USERS).map(|_| SecretKey::random(&mut rng)).collect();
    let recipient = |user: usize| Address::repeat_byte(u8::try_from(user).expect("few") + 1);
    let deposit = |user: usize| {
        let id = keys[user].public().account_id(recipient(user));
        InboxEntry::Deposit { id, amount: 1_000_000 }
    };
    let mut sequencer = Sequencer::new(1, Address::repeat_byte(9));
    let mut first = sequencer.open();
    first.take(deposit(0)).expect("room");
    first.take(deposit(1)).expect("room");
    let first = first.close();
    sequencer.seal(first, geometry).expect("sealed");

    let domain = sequencer.domain();
    let mut batch = sequencer.open();
    batch.take(deposit(2)).expect("room");
    let (id, index) = (keys[1].public().account_id(recipient(1)), AccountIndex(2));
    batch.take(InboxEntry::Exit { id, index, recipient: recipient(1) }).expect("room");
    for slot in 0..TRANSACTION_SLOTS {
        let user = if slot % 2 == 0 { 0 } else { 2 };
        let nonce = u32::try_from(slot / 2).expect("few");
        let to = match slot {
            last if last + 1 == TRANSACTION_SLOTS => Destination::L1(recipient(user)),
            _ => Destination::Account(AccountIndex(if user == 0 { 3 } else { 2 })),
        };
        let from = AccountIndex(u32::try_from(user).expect("few") + 1);
        let transaction = Transaction { from, nonce, to, amount: 100 };
        batch.include(&transaction.sign(domain, &keys[user], recipient(user), &mut rng)).expect("valid");
    }
    let batch = batch.close();
    sequencer.seal(batch, geometry).expect("sealed")
}

/// Returns the size of a part of the circuit.
#[allow(clippy::cast_precision_loss)] // far below 2^52
fn weights(name: &str, weight: Weight) -> [Figure; 2] {
    [("constraints", weight.constraints), ("entries of the matrices", weight.entries)]
        .map(|(unit, count)| Figure::new(format!("proving/{name}: {unit}"), count as f64, unit))
}

/// Returns the peak memory of this process in MiB.
fn peak_memory_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn main() {
    let weight = prover::report();
    let mut figures: Vec<Figure> = [
        ("the circuit", weight.total),
        ("fingerprints at 2 points", weight.fingerprints),
        ("hash of the payload", weight.batch_hash),
        ("18 transactions", weight.transactions),
        ("2 inbox entries", weight.inbox),
    ]
    .into_iter()
    .flat_map(|(name, weight)| weights(name, weight))
    .collect();

    let started = Instant::now();
    let keys = Keys::development().expect("keys");
    figures.push(Figure::new("proving/setup (DEV ONLY)", started.elapsed().as_secs_f64(), "s"));
    let sealed = full_batch();
    let inputs = public_inputs(&sealed.claim).expect("inputs");
    let witness = Timing::of(RUNS, || statement(&sealed.batch, &sealed.claim, &inputs));
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let proof = Timing::of(RUNS, || keys.prove(&sealed.batch, &sealed.claim, &mut rng).expect("proved"));
    let last = keys.prove(&sealed.batch, &sealed.claim, &mut rng).expect("proved");
    let verified = Timing::of(RUNS, || assert!(keys.verifies(&sealed.claim, &last)));
    figures.push(Figure::new("proving/witness and constraints", witness.median_ms() / 1e3, "s"));
    let figure = Figure::new("proving/proof, all of it", proof.median_ms() / 1e3, "s");
    figures.push(figure.with_information('≤', PROOF_MAX_SECONDS));
    figures.push(Figure::new("proving/verification", verified.median_ms(), "ms"));
    if let Some(mib) = peak_memory_mib() {
        let figure = Figure::new("proving/peak memory, keys included", mib, "MiB");
        figures.push(figure.with_information('≤', MEMORY_MAX_MIB));
    }
    for figure in &figures {
        println!("{:<45} {:>12.2} {}", figure.name, figure.value, figure.unit);
    }
    report::write("proving", &figures).expect("the figures are written");
}
