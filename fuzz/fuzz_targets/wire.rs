//! Decodes messages from the wire: a message that decodes as protobuf becomes either an error or a
//! domain value that encodes to the same message again.
#![no_main]

use dac_proto::proof::ReceivedProof;
use dac_proto::{v1, wire};
use dac_types::{Attestation, Certificate, Geometry, SignedSubmission};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = v1::Record::decode(bytes) {
        let _ = wire::epoch_of(&message);
        for (n, k) in [(2, 1), (7, 3), (256, 86)] {
            let geometry = Geometry::new(n, k).expect("valid");
            if let Ok(record) = wire::record(message.clone(), geometry) {
                assert_eq!(wire::record((&record).into(), geometry).as_ref(), Ok(&record));
            }
        }
    }
    if let Ok(Ok(certificate)) = v1::Certificate::decode(bytes).map(Certificate::try_from) {
        assert_eq!(Certificate::try_from(v1::Certificate::from(&certificate)).as_ref(), Ok(&certificate));
    }
    if let Ok(Ok(signed)) = v1::SignedSubmission::decode(bytes).map(SignedSubmission::try_from) {
        assert_eq!(SignedSubmission::try_from(v1::SignedSubmission::from(&signed)).as_ref(), Ok(&signed));
    }
    if let Ok(Ok(attestation)) = v1::Attestation::decode(bytes).map(Attestation::try_from) {
        assert_eq!(Attestation::try_from(v1::Attestation::from(&attestation)).as_ref(), Ok(&attestation));
    }
    if let Ok(Ok(proof)) = v1::SubmitValidityProofRequest::decode(bytes).map(ReceivedProof::try_from) {
        assert_eq!(ReceivedProof::try_from(proof.to_wire(v1::BatchSelector::default())).as_ref(), Ok(&proof));
    }
    let _ = v1::StoreShardRequest::decode(bytes);
    let _ = v1::SubmitBatchRequest::decode(bytes);
    if let Ok(message) = v1::GetChunksResponse::decode(bytes) {
        for chunk in message.chunks {
            let _ = wire::hashes("chunk_path", &chunk.chunk_path, dac_types::limits::MERKLE_PATH_MAX_NODES);
        }
    }
});
