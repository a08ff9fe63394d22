/// Makes the record of a batch, as an aggregator does. The signatures are placeholders, because
/// this crate checks none.
pub fn record_of(batch: &dac_coding::EncodedBatch, payload_length: u64) -> dac_types::Record {
    use dac_types::{Address, B256, BatchHeader, BatchSubmission, HashKind, SignedSubmission};

    let commitment = batch.commitment();
    let (rollup, expires_at) = (Address::repeat_byte(1), 2_000_000_000);
    let submission = BatchSubmission {
        rollup,
        batch_number: 1,
        payload_length,
        expires_at,
        hash_kind: HashKind::Opaque,
        batch_hash: B256::repeat_byte(7),
        replaces: B256::ZERO,
        disperser: Address::repeat_byte(2),
        submit_before: expires_at,
    };
    let header = BatchHeader {
        rollup,
        batch_number: 1,
        epoch: 1,
        expires_at,
        payload_length,
        hash_kind: submission.hash_kind,
        batch_hash: submission.batch_hash,
        shard_root: commitment.shard_root,
        fingerprints_hash: commitment.fingerprints_hash,
        payload_fingerprint: commitment.payload_fingerprint.clone(),
    };
    let mut signature = [1; 65];
    signature[64] = 27;
    let signature = (&signature[..]).try_into().expect("the form of a signature");
    dac_types::Record {
        header,
        shard_hashes: commitment.shard_hashes.clone(),
        row_fingerprints: commitment.row_fingerprints.clone(),
        submission: SignedSubmission { submission, signature },
        disperser_signature: signature,
        certificate: None,
    }
}
