//! Measures the times of ZODA and Reed–Solomon in commonware-coding 2026.5.0, on one thread:
//! `peer-commonware-2026-5 N K BYTES RUNS`.

use std::num::NonZeroU16;

use commonware_coding::{Config, PhasedScheme, ReedSolomon, Scheme, Zoda};
use commonware_cryptography::Sha256;
use commonware_parallel::Sequential;

#[path = "../../timing.rs"]
mod timing;

use timing::Task;

fn main() {
    let task = Task::from_arguments();
    let payload = task.payload();
    let config = Config {
        minimum_shards: NonZeroU16::new(task.k).expect("k ≥ 1"),
        extra_shards: NonZeroU16::new(task.n - task.k).expect("n > k"),
    };
    zoda(&task, &payload, &config);
    reed_solomon(&task, &payload, &config);
}

fn zoda(task: &Task, payload: &[u8], config: &Config) {
    type Z = Zoda<Sha256>;
    let (encode_ms, (commitment, shards)) =
        task.best_ms(|| Z::encode(b"bench", config, payload, &Sequential).expect("encodes"));
    // A member checks the shard that it was sent; the copy that it consumes is made outside the
    // measured time.
    let last = task.n - 1;
    let mut copies: Vec<_> = (0..task.runs.max(1)).map(|_| shards[usize::from(last)].clone()).collect();
    let (check_ms, _) = task.best_ms(|| {
        Z::weaken(b"bench", config, &commitment, last, copies.pop().expect("one for each run"))
            .expect("passes")
    });
    let (checking, _, _) =
        Z::weaken(b"bench", config, &commitment, last, shards[usize::from(last)].clone()).expect("passes");
    // The payload is decoded from the last k shards.
    let checked: Vec<_> = (task.n - task.k..task.n)
        .map(|seat| {
            let (_, _, weak) =
                Z::weaken(b"bench", config, &commitment, seat, shards[usize::from(seat)].clone())
                    .expect("passes");
            Z::check(config, &commitment, &checking, seat, weak).expect("passes")
        })
        .collect();
    let (decode_ms, decoded) = task.best_ms(|| {
        Z::decode(config, &commitment, checking.clone(), checked.iter(), &Sequential).expect("decodes")
    });
    assert_eq!(decoded, payload, "what was measured is also right");
    timing::print("ZODA", encode_ms, check_ms, decode_ms);
}

fn reed_solomon(task: &Task, payload: &[u8], config: &Config) {
    type R = ReedSolomon<Sha256>;
    let (encode_ms, (commitment, shards)) =
        task.best_ms(|| R::encode(config, payload, &Sequential).expect("encodes"));
    let last = task.n - 1;
    let (check_ms, _) =
        task.best_ms(|| R::check(config, &commitment, last, &shards[usize::from(last)]).expect("passes"));
    let checked: Vec<_> = (task.n - task.k..task.n)
        .map(|seat| R::check(config, &commitment, seat, &shards[usize::from(seat)]).expect("passes"))
        .collect();
    let (decode_ms, decoded) =
        task.best_ms(|| R::decode(config, &commitment, checked.iter(), &Sequential).expect("decodes"));
    assert_eq!(decoded, payload, "what was measured is also right");
    timing::print("Reed–Solomon", encode_ms, check_ms, decode_ms);
}
