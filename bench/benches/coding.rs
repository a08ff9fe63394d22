//! Measures encoding, checking, decoding and repair, and compares them in the same run with the
//! floor (the least work that any implementation needs) and with peers' code.
//!
//! `cargo bench -p dac-bench --features micro --bench coding`; after `--` criterion's own options.
//! `DAC_BENCH_QUICK=1` measures fewer sizes.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode};
use dac_bench::allocations::{self, Counted};
use dac_bench::peers::{self, PeerTimes};
use dac_bench::report::{self, Figure, Goal, Kind};
use dac_coding::testing::{honest, noise};
use dac_coding::{
    CheckedRecord, CheckedShard, ShardChecker, check_payload_for_seat, decode, encode, encode_on,
    rebuild_shard,
};
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{B256, Geometry, Seat};
use reed_solomon_erasure::galois_8::ReedSolomon;
use sha2::{Digest, Sha256};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

const GEOMETRIES: [(u16, u16); 7] = [(4, 2), (7, 3), (16, 6), (16, 11), (64, 22), (128, 43), (256, 86)];
const SIZES: [usize; 3] = [64 << 10, 1 << 20, 22 << 20];
/// The payload size to which the goals and the peers' figures refer.
const LARGE: usize = 22 << 20;
const STRIPE_BYTES: usize = 4096;
const PEER_RUNS: usize = 5;

/// The goals against ZODA: the number of seats, and how many times faster encoding and the check of
/// one shard must be.
const ZODA_GOALS: [(u16, f64, f64); 3] = [(16, 6.0, 7.0), (64, 5.0, 10.0), (256, 3.0, 10.0)];
/// The largest ratio of encoding to the floor: the proof that a shard belongs to a codeword may
/// cost about a third more.
const FLOOR_GOAL: f64 = 1.35;
/// Semi-AVID-PR (Nazirkhanova, Neu, Tse 2021), 22 MiB, 256 nodes of which 85 are faulty, one
/// thread, as published.
const SEMI_AVID_PR_MS: f64 = 41_000.0;

fn main() {
    let quick = std::env::var_os("DAC_BENCH_QUICK").is_some();
    let sizes: &[usize] = if quick { &SIZES[2..] } else { &SIZES };
    let mut criterion = Criterion::default().configure_from_args();
    let mut figures = Vec::new();
    for (n, k) in GEOMETRIES {
        let geometry = Geometry::new(n, k).expect("a valid geometry");
        for &bytes in sizes {
            figures.extend(measure(&mut criterion, geometry, bytes));
        }
    }
    criterion.final_summary();
    report::write("coding", &figures).expect("the figures are written");
}

/// The measurements of one geometry and payload size.
struct Case {
    geometry: Geometry,
    payload: Bytes,
    group: String,
    figures: Vec<Figure>,
}

impl Case {
    fn name(&self, operation: &str) -> String {
        format!("coding/{operation}/{}", self.group.trim_start_matches("coding "))
    }

    fn cost(&mut self, operation: &str, ms: f64) -> &mut Figure {
        let figure = Figure::new(self.name(operation), ms, "ms");
        self.figures.push(figure);
        self.figures.last_mut().expect("just pushed")
    }
}

fn words(bytes: usize) -> String {
    if bytes >> 20 > 0 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn measure(criterion: &mut Criterion, geometry: Geometry, bytes: usize) -> Vec<Figure> {
    let (n, k) = (geometry.n(), geometry.k());
    let group = format!("coding n={n} k={k} {}", words(bytes));
    let payload = Bytes::from(noise(1, bytes));
    let mut case = Case { geometry, payload, group: group.clone(), figures: Vec::new() };
    let mut bench = criterion.benchmark_group(&group);
    bench.sample_size(10).warm_up_time(Duration::from_millis(200));
    bench.measurement_time(Duration::from_millis(if bytes == LARGE { 1000 } else { 400 }));
    bench.sampling_mode(if bytes == LARGE { SamplingMode::Flat } else { SamplingMode::Auto });

    let floor = floor(&mut bench, &case);
    encoding(&mut bench, &mut case, floor);
    members(&mut bench, &mut case);
    bench.finish();
    if bytes == LARGE {
        beside_peers(&mut case, &peers::measure(n, k, bytes, PEER_RUNS));
    }
    case.figures
}

/// Runs one operation under criterion and returns its median in milliseconds. Its input is made and
/// its result is dropped outside the measured time.
fn time<I, T>(
    bench: &mut BenchmarkGroup<'_, WallTime>,
    group: &str,
    operation: &str,
    mut setup: impl FnMut() -> I,
    mut run: impl FnMut(I) -> T,
) -> f64 {
    bench.bench_function(operation, |bencher| {
        bencher.iter_batched(&mut setup, &mut run, BatchSize::PerIteration);
    });
    median_ms(group, operation)
}

/// Reads the median from criterion's files, because criterion has no API for results.
fn median_ms(group: &str, operation: &str) -> f64 {
    let home = std::env::var_os("CRITERION_HOME")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/criterion"), PathBuf::from);
    let file = home.join(group).join(operation).join("new/estimates.json");
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let estimates: serde_json::Value = serde_json::from_slice(&text).expect("criterion writes JSON");
    estimates["median"]["point_estimate"].as_f64().expect("nanoseconds") / 1e6
}

/// Measures the floor, which is the least work that any implementation needs: encoding with
/// `reed-solomon-erasure` with its matrix cached, in stripes into memory that was touched before,
/// and SHA-256 over all shards.
fn floor(bench: &mut BenchmarkGroup<'_, WallTime>, case: &Case) -> f64 {
    let (n, k) = (usize::from(case.geometry.n()), usize::from(case.geometry.k()));
    let shard_length = case.geometry.shard_length(case.payload.len() as u64).expect("a valid length");
    let mut padded = case.payload.to_vec();
    padded.resize(k * shard_length, 0);
    let code = ReedSolomon::new(k, n - k).expect("a valid geometry");
    let mut parity = vec![1; (n - k) * shard_length];
    let code_ms = time(
        bench,
        &case.group,
        "floor, code",
        || (),
        |()| {
            for start in (0..shard_length).step_by(STRIPE_BYTES) {
                let range = start..(start + STRIPE_BYTES).min(shard_length);
                let data: Vec<&[u8]> = padded.chunks(shard_length).map(|row| &row[range.clone()]).collect();
                let mut outputs: Vec<&mut [u8]> =
                    parity.chunks_mut(shard_length).map(|row| &mut row[range.clone()]).collect();
                code.encode_sep(&data, &mut outputs).expect("equal lengths");
            }
        },
    );
    let hash_ms = time(
        bench,
        &case.group,
        "floor, hash",
        || (),
        |()| {
            let rows = padded.chunks(shard_length).cycle().take(n);
            rows.map(|row| Sha256::digest(row)[0]).fold(0, |a, b| a ^ b)
        },
    );
    code_ms + hash_ms
}

fn encoding(bench: &mut BenchmarkGroup<'_, WallTime>, case: &mut Case, floor: f64) {
    let (geometry, payload) = (case.geometry, case.payload.clone());
    let hash = B256::repeat_byte(1);
    let group = case.group.clone();
    let one = time(bench, &group, "encode", || payload.clone(), |payload| encode(geometry, payload, hash));
    let figure = case.cost("encode", one);
    *figure = figure.clone().with_floor(Kind::Cost, floor).with_goal(Goal::TimesFloorAtMost(FLOOR_GOAL));

    let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let all = time(
        bench,
        &group,
        "encode on all threads",
        || payload.clone(),
        |payload| encode_on(processors, geometry, payload, hash),
    );
    let figure = case.cost("encode on all threads", all);
    *figure = figure.clone().with_floor(Kind::Cost, floor);

    let (allocated, _) = allocations::of(|| encode(geometry, payload.clone(), hash));
    case.allocated("encode", allocated.bytes, payload.len());
}

impl Case {
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    fn allocated(&mut self, operation: &str, allocated: u64, per: usize) {
        let name = self.name(&format!("{operation}, allocated"));
        self.figures.push(Figure::new(name, allocated as f64 / per as f64, "B/B"));
    }
}

fn members(bench: &mut BenchmarkGroup<'_, WallTime>, case: &mut Case) {
    let (geometry, payload, group) = (case.geometry, case.payload.clone(), case.group.clone());
    let (n, k) = (geometry.n(), usize::from(geometry.k()));
    let dispersal = honest(geometry, payload.clone(), B256::repeat_byte(1)).expect("an honest dispersal");
    let unsigned = dispersal.unsigned_record(Seat(0));
    let record_ms = time(
        bench,
        &group,
        "check of a record",
        || unsigned.clone(),
        |record| CheckedRecord::check(record, geometry),
    );
    case.cost("check of a record", record_ms);
    let record = Arc::new(CheckedRecord::check(unsigned, geometry).expect("an honest record"));

    // Like a member, this checks a parity shard that arrives as a stream of pieces.
    let last = Seat::all(n).next_back().expect("a committee has seats");
    let shard = dispersal.shards[last.index()].clone();
    let hash_ms = time(bench, &group, "floor, hash of a shard", || (), |()| Sha256::digest(&shard));
    let check = || {
        let mut checker = ShardChecker::new(Arc::clone(&record), last).expect("the seat exists");
        for piece in shard.chunks(STREAM_PIECE_MAX_BYTES) {
            checker.update(piece).expect("not too long");
        }
        checker.finish().expect("an honest shard")
    };
    let check_ms = time(bench, &group, "check of a shard", || (), |()| check());
    let figure = case.cost("check of a shard", check_ms);
    *figure = figure.clone().with_floor(Kind::Cost, hash_ms);
    let (allocated, _) = allocations::of(check);
    case.allocated("check of a shard", allocated.bytes, shard.len());

    let whole = time(
        bench,
        &group,
        "check of a payload",
        || payload.clone(),
        |payload| check_payload_for_seat(&record, payload, last).expect("an honest payload"),
    );
    case.cost("check of a payload", whole);

    let checked = |seats: std::ops::Range<usize>| -> Vec<CheckedShard> {
        Seat::all(n)
            .skip(seats.start)
            .take(seats.len())
            .map(|seat| {
                CheckedShard::check(&record, seat, dispersal.shards[seat.index()].clone()).expect("passes")
            })
            .collect()
    };
    // With n < 2k there are fewer than k parity shards, so a decoding from parity shards alone
    // cannot be measured.
    let (first, end) = (checked(0..k), checked(usize::from(n) - k..usize::from(n)));
    assert_eq!(decode(&record, &end).as_ref(), Ok(&payload), "what is measured is also right");
    let from_data = time(bench, &group, "decode from data", || (), |()| decode(&record, &first));
    case.cost("decode from data", from_data);
    let from_end = time(bench, &group, "decode from the last k", || (), |()| decode(&record, &end));
    case.cost("decode from the last k", from_end);
    let (allocated, _) = allocations::of(|| decode(&record, &end));
    case.allocated("decode from the last k", allocated.bytes, payload.len());

    let sources = checked(1..k + 1);
    let repair =
        time(bench, &group, "repair of a shard", || (), |()| rebuild_shard(&record, &sources, Seat(0)));
    case.cost("repair of a shard", repair);
}

/// Adds the peers' times of the same operations, and the goals that compare with them.
fn beside_peers(case: &mut Case, peers: &[PeerTimes]) {
    let n = case.geometry.n();
    let goals = ZODA_GOALS.iter().find(|goal| goal.0 == n && case.geometry.k() != 11);
    let mut beside = Vec::new();
    for peer in peers {
        let zoda = peer.scheme.ends_with("ZODA");
        let rows = [
            ("encode", peer.encode_ms, goals.filter(|_| zoda).map(|goal| goal.1)),
            ("check of a shard", peer.check_ms, goals.filter(|_| zoda).map(|goal| goal.2)),
            ("decode from the last k", peer.decode_ms, (!zoda).then_some(1.0)),
        ];
        for (operation, theirs, goal) in rows {
            let name = case.name(operation);
            let ours = case.figures.iter().find(|figure| figure.name == name).expect("measured before");
            let figure = Figure::new(format!("{name}/beside {}", peer.scheme), ours.value, "ms").with_peer(
                Kind::Cost,
                &peer.scheme,
                theirs,
            );
            beside.push(match goal {
                Some(goal) => figure.with_goal(Goal::TimesPeerAtLeast(goal)),
                None => figure,
            });
        }
    }
    if n == 256 {
        let name = case.name("encode");
        let ours = case.figures.iter().find(|figure| figure.name == name).expect("measured before");
        beside.push(Figure::new(format!("{name}/beside Semi-AVID-PR"), ours.value, "ms").with_peer(
            Kind::Cost,
            "Semi-AVID-PR, as published, on another machine",
            SEMI_AVID_PR_MS,
        ));
    }
    case.figures.extend(beside);
}
