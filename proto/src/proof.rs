//! Conversion of posting modes and validity proofs between wire and domain types.

use bytes::Bytes;
use dac_types::limits::PROOF_MAX_BYTES;
use dac_types::{BatchDigest, EcdsaSignature, PostingMode, Transition, ValidityProof};

use crate::v1;
use crate::wire::{WireError, ecdsa_signature, hash};

/// Converts a posting mode. Unspecified means RECORD; an unknown value is an error that names the
/// field.
pub fn posting_mode(field: &'static str, value: i32) -> Result<PostingMode, WireError> {
    match v1::PostingMode::try_from(value) {
        Ok(v1::PostingMode::Unspecified | v1::PostingMode::Record) => Ok(PostingMode::Record),
        Ok(v1::PostingMode::Settle) => Ok(PostingMode::Settle),
        Err(_) => Err(WireError::UnknownEnum { field, got: value }),
    }
}

/// Converts a posting mode to its wire value.
pub const fn posting_mode_to_wire(mode: PostingMode) -> v1::PostingMode {
    match mode {
        PostingMode::Record => v1::PostingMode::Record,
        PostingMode::Settle => v1::PostingMode::Settle,
    }
}

/// A proof as it was received. Only its lengths have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedProof {
    /// The state transition that it claims to prove.
    pub transition: Transition,
    /// The bytes of the proof, 1 byte to 64 KiB.
    pub proof: Bytes,
    /// The poster's signature, whose address is not recovered yet.
    pub signature: EcdsaSignature,
}

impl ReceivedProof {
    /// Returns the statement that was signed, provided that it was signed for this batch.
    pub fn signed(&self, digest: BatchDigest) -> ValidityProof {
        ValidityProof::new(digest, self.transition, &self.proof)
    }

    /// Returns the request that submits the proof.
    pub fn to_wire(&self, batch: v1::BatchSelector) -> v1::SubmitValidityProofRequest {
        v1::SubmitValidityProofRequest {
            batch: Some(batch),
            new_state_root: Bytes::copy_from_slice(self.transition.new_state_root.as_slice()),
            inputs_consumed: self.transition.inputs_consumed,
            outputs: Bytes::copy_from_slice(self.transition.outputs.as_slice()),
            proof: self.proof.clone(),
            signature: Bytes::copy_from_slice(self.signature.as_bytes()),
        }
    }
}

/// Converts everything but the batch selector, which is converted where the batch is looked up.
impl TryFrom<v1::SubmitValidityProofRequest> for ReceivedProof {
    type Error = WireError;

    fn try_from(wire: v1::SubmitValidityProofRequest) -> Result<Self, WireError> {
        let got = wire.proof.len();
        if got == 0 || got > PROOF_MAX_BYTES {
            return Err(WireError::ProofLength { got, max: PROOF_MAX_BYTES });
        }
        Ok(Self {
            transition: Transition {
                new_state_root: hash("new_state_root", &wire.new_state_root)?,
                inputs_consumed: wire.inputs_consumed,
                outputs: hash("outputs", &wire.outputs)?,
            },
            proof: wire.proof,
            signature: ecdsa_signature("proof.signature", &wire.signature)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;
    use dac_types::B256;

    fn request() -> v1::SubmitValidityProofRequest {
        let mut signature = [1; 65];
        signature[64] = 27;
        let proof = ReceivedProof {
            transition: Transition {
                new_state_root: B256::repeat_byte(1),
                inputs_consumed: 7,
                outputs: B256::repeat_byte(2),
            },
            proof: vec![3; 256].into(),
            signature: EcdsaSignature::try_from(&signature[..]).unwrap(),
        };
        let request = proof.to_wire(v1::BatchSelector::default());
        assert_eq!(ReceivedProof::try_from(request.clone()), Ok(proof));
        request
    }

    #[test]
    fn each_wrong_field_of_a_proof_is_refused_with_its_reason() {
        type Break = fn(&mut v1::SubmitValidityProofRequest);
        let cases: &[(Reason, Break)] = &[
            (Reason::MalformedRequest, |r| r.new_state_root.truncate(31)),
            (Reason::MalformedRequest, |r| r.outputs = Bytes::new()),
            (Reason::ProofLength, |r| r.proof = Bytes::new()),
            (Reason::ProofLength, |r| r.proof = vec![0; PROOF_MAX_BYTES + 1].into()),
            (Reason::BadProofSignature, |r| r.signature.truncate(64)),
            (Reason::BadProofSignature, |r| r.signature = vec![0xff; 65].into()),
        ];
        for (reason, break_it) in cases {
            let mut broken = request();
            break_it(&mut broken);
            let error = ReceivedProof::try_from(broken).unwrap_err();
            assert_eq!(error.reason(), *reason, "{error}");
        }
        let longest = v1::SubmitValidityProofRequest { proof: vec![0; PROOF_MAX_BYTES].into(), ..request() };
        assert!(ReceivedProof::try_from(longest).is_ok());
    }

    #[test]
    fn a_posting_mode_that_is_not_named_records() {
        for (value, mode) in [(0, PostingMode::Record), (1, PostingMode::Record), (2, PostingMode::Settle)] {
            assert_eq!(posting_mode("posting", value), Ok(mode));
            assert_eq!(posting_mode("posting", posting_mode_to_wire(mode).into()), Ok(mode));
        }
        assert!(posting_mode("posting", 3).is_err());
    }

    #[test]
    fn all_posting_modes_of_the_wire_are_listed() {
        let named = (1..).map_while(|value| posting_mode("posting", value).ok());
        assert!(named.eq(PostingMode::ALL), "in the same order");
        for mode in PostingMode::ALL {
            assert_eq!(posting_mode_to_wire(mode).as_str_name(), format!("POSTING_MODE_{}", mode.name()));
            assert_eq!(mode.word(), mode.name().to_lowercase());
            assert_eq!(PostingMode::of_word(mode.word()), Some(mode));
        }
        assert_eq!(PostingMode::of_word("post"), None);
    }
}
