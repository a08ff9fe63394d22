//! Checks chunk proofs from a hostile member: only the committed chunk at its index passes, and
//! nothing panics.
#![no_main]

use std::sync::OnceLock;

use arbitrary::Arbitrary;
use bytes::Bytes;
use dac_coding::testing::{Dispersal, honest, noise};
use dac_coding::{ChunkProof, ShardTree};
use dac_types::limits::CHUNK_BYTES;
use dac_types::{B256, Geometry, Record, Seat};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    n: u16,
    k: u16,
    payload_length: u64,
    seat: u8,
    index: u16,
    chunk: Vec<u8>,
    paths: [Vec<[u8; 32]>; 2],
    /// The changes to an honest proof: the place of each, and the value for the XOR.
    edits: Vec<(u16, u8)>,
    claimed_seat: u8,
    claimed_index: u8,
}

fn batch() -> &'static (Dispersal, Record) {
    static BATCH: OnceLock<(Dispersal, Record)> = OnceLock::new();
    BATCH.get_or_init(|| {
        let geometry = Geometry::new(7, 3).expect("valid");
        let payload = Bytes::from(noise(1, 3 * (2 * CHUNK_BYTES + 48)));
        let dispersal = honest(geometry, payload, B256::ZERO).expect("valid");
        let record = dispersal.unsigned_record(Seat(0));
        (dispersal, record)
    })
}

fuzz_target!(|input: Input| {
    let (dispersal, record) = batch();
    let path = |nodes: &[[u8; 32]]| nodes.iter().map(|node| B256::new(*node)).collect();
    let junk = ChunkProof { chunk_path: path(&input.paths[0]), shard_path: path(&input.paths[1]) };
    if let Ok(geometry) = Geometry::new(input.n, input.k) {
        let mut header = record.header.clone();
        header.payload_length = input.payload_length;
        assert!(
            junk.check(&header, geometry, Seat(input.seat), usize::from(input.index), &input.chunk).is_err()
        );
    }

    let (seat, index) = (usize::from(input.seat) % 7, usize::from(input.index) % 3);
    let shard = &dispersal.shards[seat];
    let tree = ShardTree::of_shard(shard);
    let proof = ChunkProof::new(&record.shard_hashes, Seat(input.seat % 7), &tree, index).expect("honest");
    let honest_chunk = shard.chunks(CHUNK_BYTES).nth(index).expect("three chunks");
    let (mut edited, mut chunk) = (proof.clone(), honest_chunk.to_vec());
    for (place, change) in input.edits {
        let nodes = edited.chunk_path.len() + edited.shard_path.len();
        match usize::from(place) % (nodes + 1) {
            0 => {
                let position = usize::from(place) % chunk.len();
                chunk[position] ^= change;
            }
            node => {
                let mut all = edited.chunk_path.iter_mut().chain(&mut edited.shard_path);
                let node = all.nth(node - 1).expect("counted");
                node.0[usize::from(place >> 8) % 32] ^= change;
            }
        }
    }
    let (claimed_seat, claimed_index) = (usize::from(input.claimed_seat), usize::from(input.claimed_index));
    let accepted = edited
        .check(&record.header, dispersal.geometry, Seat(input.claimed_seat), claimed_index, &chunk)
        .is_ok();
    let honest = edited == proof && chunk == honest_chunk && (claimed_seat, claimed_index) == (seat, index);
    assert_eq!(accepted, honest);
});
