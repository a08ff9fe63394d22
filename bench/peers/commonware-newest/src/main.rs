//! Measures the times of Reed–Solomon in the newest commonware-coding, which has no ZODA any more,
//! on one thread: `peer-commonware-newest N K BYTES RUNS`.

use std::num::NonZeroU16;

use commonware_coding::{Config, ReedSolomon, Scheme};
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
    reed_solomon(&task, &payload, &config);
}

fn reed_solomon(task: &Task, payload: &[u8], config: &Config) {
    type R = ReedSolomon<Sha256>;
    let (encode_ms, (commitment, shards)) =
        task.best_ms(|| R::encode(config, payload, &Sequential).expect("encodes"));
    let last = task.n - 1;
    let (check_ms, _) = task.best_ms(|| {
        R::check(config, &commitment, last, &shards[usize::from(last)], &Sequential).expect("passes")
    });
    let checked: Vec<_> = (task.n - task.k..task.n)
        .map(|seat| {
            R::check(config, &commitment, seat, &shards[usize::from(seat)], &Sequential).expect("passes")
        })
        .collect();
    let (decode_ms, decoded) =
        task.best_ms(|| R::decode(config, &commitment, checked.iter(), &Sequential).expect("decodes"));
    assert_eq!(decoded, payload, "what was measured is also right");
    timing::print("Reed–Solomon", encode_ms, check_ms, decode_ms);
}
