//! The vectors of bundles, made by `contracts/tools/bundle-vectors.mjs`, replayed.
#![allow(missing_docs, reason = "a test")]

use dac_types::{AbsentSeats, Address, B256, BatchDigest, BundleDigests, BundleError, Domain};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Vector {
    chain_id: u64,
    registry: Address,
    epoch: u64,
    digests: Vec<B256>,
    root: B256,
    digest: B256,
    paths: Vec<Path>,
    proofs: Vec<Proof>,
    absent: String,
    absent_hash: String,
}

#[derive(Deserialize)]
struct Path {
    index: usize,
    path: Vec<B256>,
}

#[derive(Deserialize)]
struct Proof {
    indices: Vec<usize>,
    proof: Vec<B256>,
}

#[derive(Deserialize)]
struct Refused {
    why: String,
    index: Option<usize>,
    digests: Vec<B256>,
}

fn read() -> Vectors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/bundle-v1.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list(digests: &[B256]) -> Result<BundleDigests, BundleError> {
    digests.iter().copied().map(BatchDigest).collect::<Vec<_>>().try_into()
}

#[test]
fn vectors() {
    let read = read();
    assert_eq!(read.vectors.len(), 6);
    for vector in read.vectors {
        let digests = list(&vector.digests).unwrap();
        let bundle = digests.bundle(vector.epoch);
        assert_eq!(bundle.root, vector.root);
        let domain = Domain { chain_id: vector.chain_id, registry: vector.registry };
        assert_eq!(bundle.digest(&domain).0, vector.digest);
        for Path { index, path } in vector.paths {
            assert_eq!(digests.path(index).as_deref(), Some(&path[..]));
            assert_eq!(bundle.check_path(digests.as_slice()[index], index, &path), Ok(()));
        }
        for Proof { indices, proof } in vector.proofs {
            assert_eq!(digests.proof(&indices), proof);
            let batches: Vec<_> = indices.iter().map(|index| (*index, digests.as_slice()[*index])).collect();
            assert_eq!(bundle.check_proof(&batches, &proof), Ok(()));
        }
        let absent = hex::decode(&vector.absent[2..]).unwrap();
        let absent = AbsentSeats::try_from(&absent[..]).unwrap();
        assert_eq!(hex::encode(absent.short_hash()), vector.absent_hash[2..]);
    }
}

#[test]
fn refused() {
    for Refused { why, index, digests } in read().refused {
        match (&why[..], list(&digests).unwrap_err()) {
            ("empty", BundleError::Empty) => assert_eq!(index, None),
            ("duplicate", BundleError::Duplicate { index: got, .. })
            | ("not ascending", BundleError::NotAscending { index: got, .. }) => assert_eq!(index, Some(got)),
            (why, error) => panic!("{why}: {error}"),
        }
    }
}
