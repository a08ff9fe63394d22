//! Checks the vectors of honest batches: every value of sections 2 to 4 and 6 of the protocol is
//! computed from the payload and the keys alone.

use alloy::primitives::{Address, B256};
use bytes::Bytes;
use dac_bls::{PublicKey, SecretKey, Signature, aggregate_keys, aggregate_signatures};
use dac_coding::fingerprint::points_seed;
use dac_coding::merkle::{ShardTree, shard_path};
use dac_coding::{
    CheckedRecord, ChunkProof, decode, encode, fingerprint, payload_fingerprint, payload_hash, rebuild_shard,
};
use dac_types::limits::CHUNK_BYTES;
use dac_types::{
    AbsentSeats, BatchDigest, BatchHeader, BatchSubmission, CoverageRenewal, Domain, EcdsaSignature,
    Geometry, HashKind, Record, RowFingerprints, Seat, SignedSubmission,
};
use serde::Deserialize;

use crate::hex_bytes::Hex;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    n: u16,
    k: u16,
    payload: Hex,
    batch_hash: B256,
    shard_length: usize,
    shard_root: B256,
    seed: B256,
    points: Vec<Hex>,
    fingerprints: Vec<Hex>,
    fingerprints_hash: B256,
    payload_fingerprint: Hex,
    shard_hashes: Vec<B256>,
    sample: Sample,
    chain_id: u64,
    registry: Address,
    header: Header,
    digest: B256,
    submission: Submission,
    submission_digest: B256,
    poster: Address,
    poster_signature: Hex,
    disperser_signature: Hex,
    renewal: Renewal,
    renewal_digest: B256,
    signers: Vec<u8>,
    secret_keys: Vec<Hex>,
    absent: Hex,
    aggregate_signature: Hex,
    aggregate_public_key: Hex,
    possession: Possession,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    seat: u8,
    shard: Hex,
    top_path: Vec<B256>,
    chunk_index: usize,
    chunk: Hex,
    chunk_path: Vec<B256>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Header {
    rollup: Address,
    batch_number: u64,
    epoch: u64,
    expires_at: u64,
    payload_length: u64,
    hash_kind: u64,
    batch_hash: B256,
    shard_root: B256,
    fingerprints_hash: B256,
    payload_fingerprint: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Submission {
    rollup: Address,
    batch_number: u64,
    payload_length: u64,
    expires_at: u64,
    hash_kind: u64,
    batch_hash: B256,
    replaces: B256,
    disperser: Address,
    submit_before: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Renewal {
    rollup: Address,
    last_batch: u64,
    expires_at: u64,
    epoch: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Possession {
    operator: Address,
    public_key: Hex,
    message: B256,
    signature: Hex,
}

impl Header {
    fn to_domain(&self) -> BatchHeader {
        BatchHeader {
            rollup: self.rollup,
            batch_number: self.batch_number,
            epoch: self.epoch,
            expires_at: self.expires_at,
            payload_length: self.payload_length,
            hash_kind: HashKind::try_from(self.hash_kind).unwrap(),
            batch_hash: self.batch_hash,
            shard_root: self.shard_root,
            fingerprints_hash: self.fingerprints_hash,
            payload_fingerprint: self.payload_fingerprint.0.clone(),
        }
    }
}

impl Submission {
    fn to_domain(&self) -> BatchSubmission {
        BatchSubmission {
            rollup: self.rollup,
            batch_number: self.batch_number,
            payload_length: self.payload_length,
            expires_at: self.expires_at,
            hash_kind: HashKind::try_from(self.hash_kind).unwrap(),
            batch_hash: self.batch_hash,
            replaces: self.replaces,
            disperser: self.disperser,
            submit_before: self.submit_before,
        }
    }
}

fn signature(bytes: &Hex) -> EcdsaSignature {
    EcdsaSignature::try_from(&bytes.0[..]).unwrap()
}

/// Panics at the first value that differs.
pub(crate) fn check(vector: &Vector, name: &str) {
    let record = check_signed(vector, name);
    check_coding(vector, record, name);
    check_bls(vector, name);
}

/// Checks section 6 without BLS: digests, and the signers of ECDSA signatures.
fn check_signed(vector: &Vector, name: &str) -> Record {
    let domain = Domain { chain_id: vector.chain_id, registry: vector.registry };
    let header = vector.header.to_domain();
    assert_eq!(header.digest(&domain).0, vector.digest, "{name}: digest");
    let submission = vector.submission.to_domain();
    submission.check_agrees(&header).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(submission.digest(&domain), vector.submission_digest, "{name}: submission_digest");
    let poster_signature = signature(&vector.poster_signature);
    assert_eq!(
        poster_signature.recover(vector.submission_digest),
        Ok(vector.poster),
        "{name}: poster_signature"
    );
    let disperser_signature = signature(&vector.disperser_signature);
    let disperser = disperser_signature.recover(vector.digest);
    assert_eq!(disperser, Ok(submission.disperser), "{name}: disperser_signature");
    let renewal = CoverageRenewal {
        rollup: vector.renewal.rollup,
        last_batch: vector.renewal.last_batch,
        expires_at: vector.renewal.expires_at,
        epoch: vector.renewal.epoch,
    };
    assert_eq!(renewal.digest(&domain).0, vector.renewal_digest, "{name}: renewal_digest");
    let geometry = Geometry::new(vector.n, vector.k).unwrap();
    let z = vector.fingerprints.iter().flat_map(|z| z.0.clone()).collect();
    Record {
        header,
        shard_hashes: vector.shard_hashes.clone(),
        row_fingerprints: RowFingerprints::new(geometry, z).unwrap(),
        submission: SignedSubmission { submission, signature: poster_signature },
        disperser_signature,
        certificate: None,
    }
}

/// Checks sections 2 to 4.
fn check_coding(vector: &Vector, record: Record, name: &str) {
    let geometry = Geometry::new(vector.n, vector.k).unwrap();
    let payload = Bytes::from(vector.payload.0.clone());
    let length = payload.len() as u64;
    assert_eq!(geometry.shard_length(length), Ok(vector.shard_length), "{name}: shard_length");
    let hash = payload_hash(record.header.hash_kind, &payload).unwrap_or(vector.batch_hash);
    assert_eq!(hash, vector.batch_hash, "{name}: batch_hash");
    let header = record.header.clone();
    assert_eq!((header.payload_length, header.batch_hash), (length, vector.batch_hash), "{name}: header");

    let encoded = encode(geometry, payload.clone(), vector.batch_hash).unwrap();
    let commitment = encoded.commitment();
    assert_eq!(commitment.shard_hashes, vector.shard_hashes, "{name}: shard_hashes");
    assert_eq!(commitment.shard_root, vector.shard_root, "{name}: shard_root");
    assert_eq!(commitment.row_fingerprints, record.row_fingerprints, "{name}: fingerprints");
    let fingerprints: Vec<&[u8]> =
        commitment.row_fingerprints.as_bytes().chunks(geometry.fingerprint_bytes()).collect();
    assert!(fingerprints.iter().eq(vector.fingerprints.iter().map(|z| &z.0)), "{name}: fingerprints");
    assert_eq!(commitment.fingerprints_hash, vector.fingerprints_hash, "{name}: fingerprints_hash");
    assert_eq!(commitment.payload_fingerprint, vector.payload_fingerprint.0, "{name}: payload_fingerprint");
    assert_eq!(header.shard_root, vector.shard_root, "{name}: header.shardRoot");
    assert_eq!(header.fingerprints_hash, vector.fingerprints_hash, "{name}: header.fingerprintsHash");
    assert_eq!(header.payload_fingerprint, vector.payload_fingerprint.0, "{name}: header.payloadFingerprint");

    let record = CheckedRecord::check(record, geometry).unwrap_or_else(|error| panic!("{name}: {error}"));
    let seed = points_seed(vector.shard_root, vector.batch_hash, length, geometry);
    assert_eq!(seed, vector.seed, "{name}: seed");
    let points: Vec<Hex> = record.points().elements().map(|point| Hex(point.to_bytes().to_vec())).collect();
    assert_eq!(points, vector.points, "{name}: points");
    let whole = payload_fingerprint(record.points(), &payload);
    assert_eq!(
        whole.as_bytes(),
        vector.payload_fingerprint.0,
        "{name}: payload_fingerprint, of the payload at once"
    );

    check_sample(vector, &record, name);

    let checked: Vec<_> = Seat::all(vector.n)
        .map(|seat| {
            let shard = encoded.shard(seat);
            let expected = record.expected_fingerprint(seat).unwrap();
            assert_eq!(fingerprint(record.points(), &shard), expected, "{name}: fingerprint of seat {seat}");
            dac_coding::CheckedShard::check(&record, seat, shard)
                .unwrap_or_else(|error| panic!("{name}: {error}"))
        })
        .collect();
    let k = usize::from(vector.k);
    let first_and_last = [&checked[..k], &checked[checked.len() - k..]];
    for shards in first_and_last {
        assert_eq!(decode(&record, shards).as_ref(), Ok(&payload), "{name}: decoded");
        for seat in [Seat(0), Seat(vector.sample.seat)] {
            let rebuilt =
                rebuild_shard(&record, shards, seat).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(
                rebuilt.bytes(),
                checked[seat.index()].bytes(),
                "{name}: rebuilt shard of seat {seat}"
            );
        }
    }
    dac_coding::check_payload(&record, payload).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn check_sample(vector: &Vector, record: &CheckedRecord, name: &str) {
    let sample = &vector.sample;
    let seat = Seat(sample.seat);
    let payload = Bytes::from(vector.payload.0.clone());
    let encoded = encode(record.geometry(), payload, vector.batch_hash).unwrap();
    assert_eq!(encoded.shard(seat), sample.shard.0, "{name}: sample.shard");
    let tree = ShardTree::of_shard(&sample.shard.0);
    assert_eq!(tree.root(), vector.shard_hashes[seat.index()], "{name}: sample.seat");
    let chunk = sample.shard.0.chunks(CHUNK_BYTES).nth(sample.chunk_index).expect("the sampled chunk exists");
    assert_eq!(chunk, sample.chunk.0, "{name}: sample.chunk");
    assert_eq!(tree.path(sample.chunk_index).as_ref(), Ok(&sample.chunk_path), "{name}: sample.chunk_path");
    assert_eq!(
        shard_path(&vector.shard_hashes, seat.index()).as_ref(),
        Ok(&sample.top_path),
        "{name}: sample.top_path"
    );
    ChunkProof { chunk_path: sample.chunk_path.clone(), shard_path: sample.top_path.clone() }
        .check(record.header(), record.geometry(), seat, sample.chunk_index, &sample.chunk.0)
        .unwrap_or_else(|error| panic!("{name}: sample: {error}"));
}

/// Checks the BLS signatures of section 6.
fn check_bls(vector: &Vector, name: &str) {
    let domain = Domain { chain_id: vector.chain_id, registry: vector.registry };
    let digest = BatchDigest(vector.digest);
    let signers: Vec<Seat> = vector.signers.iter().map(|seat| Seat(*seat)).collect();
    assert!(signers.is_sorted_by(|a, b| a < b), "{name}: signers");
    assert!(signers.iter().all(|seat| seat.index() < usize::from(vector.n)), "{name}: signers");
    let absent = AbsentSeats::from_signers(vector.n, &signers);
    assert_eq!(absent.as_bytes(), vector.absent.0, "{name}: absent");
    assert!(absent.signers(vector.n).eq(signers.iter().copied()), "{name}: signers");
    assert_eq!(AbsentSeats::try_from(&vector.absent.0[..]), Ok(absent), "{name}: absent");

    let keys: Vec<SecretKey> =
        vector.secret_keys.iter().map(|key| SecretKey::from_bytes(&key.0).unwrap()).collect();
    assert_eq!(keys.len(), signers.len(), "{name}: secret_keys");
    let signatures: Vec<Signature> = keys.iter().map(|key| key.sign_digest(&digest)).collect();
    let public_keys: Vec<PublicKey> = keys.iter().map(SecretKey::public_key).collect();
    let signature = aggregate_signatures(&signatures).unwrap();
    let public_key = aggregate_keys(&public_keys).unwrap();
    assert_eq!(signature.to_eip2537()[..], vector.aggregate_signature.0, "{name}: aggregate_signature");
    assert_eq!(public_key.to_eip2537()[..], vector.aggregate_public_key.0, "{name}: aggregate_public_key");
    let signature = Signature::from_eip2537(&vector.aggregate_signature.array()).unwrap();
    let public_key = PublicKey::from_eip2537(&vector.aggregate_public_key.array()).unwrap();
    public_key.verify(&digest, &signature).unwrap_or_else(|error| panic!("{name}: {error}"));

    let possession = &vector.possession;
    let first = keys.first().expect("a quorum is not empty");
    assert_eq!(first.public_key().to_eip2537()[..], possession.public_key.0, "{name}: possession.public_key");
    let message = domain.possession_message(possession.operator, &possession.public_key.array());
    assert_eq!(message, possession.message, "{name}: possession.message");
    let proof = first.prove_possession(&domain, possession.operator);
    assert_eq!(proof.to_eip2537()[..], possession.signature.0, "{name}: possession.signature");
    PublicKey::from_eip2537(&possession.public_key.array())
        .unwrap()
        .verify_possession(
            &domain,
            possession.operator,
            &Signature::from_eip2537(&possession.signature.array()).unwrap(),
        )
        .unwrap_or_else(|error| panic!("{name}: possession: {error}"));
}
