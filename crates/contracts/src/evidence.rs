//! A certificate as bytes, for `CertificateLog.isSigned` and for disputes: its one ABI encoding.

use alloy::primitives::Bytes;
use alloy::sol_types::{SolCall, SolValue};
use dac_bls::{G1_EIP2537_BYTES, PointError, Signature};
use dac_types::{AbsentSeats, AggregateAttestation, BatchHeader, Certificate, HashKind};

use super::CertificateLog;
use super::calls::for_log;

/// Encodes a certificate. Its signature must be a point of the group.
pub fn encode(certificate: &Certificate) -> Result<Bytes, PointError> {
    Ok(for_log::certificate(certificate)?.abi_encode().into())
}

/// The calldata of `CertificateLog.isSigned(certificate)`, for any bytes.
pub fn is_signed_calldata(encoded: &[u8]) -> Bytes {
    CertificateLog::isSignedCall { certificate: encoded.to_vec().into() }.abi_encode().into()
}

/// Decodes a certificate. `None` if the bytes are not the only encoding of one, or its signature is
/// no point of the group, or infinity: then `isSigned` is `false` of them. Nothing is verified.
pub fn decode(encoded: &[u8]) -> Option<Certificate> {
    let decoded = CertificateLog::Certificate::abi_decode_validate(encoded).ok()?;
    if decoded.abi_encode() != encoded {
        return None;
    }
    let signature: &[u8; G1_EIP2537_BYTES] = decoded.signature.as_ref().try_into().ok()?;
    let signature = Signature::from_eip2537(signature).ok()?.to_compressed();
    let absent = AbsentSeats::try_from(decoded.absent.as_ref()).ok()?;
    let header = decoded.header;
    Some(Certificate {
        header: BatchHeader {
            rollup: header.rollup,
            batch_number: header.batchNumber,
            epoch: header.epoch,
            expires_at: header.expiresAt,
            payload_length: header.payloadLength,
            hash_kind: HashKind::try_from(u64::from(header.hashKind)).ok()?,
            batch_hash: header.batchHash,
            shard_root: header.shardRoot,
            fingerprints_hash: header.fingerprintsHash,
            payload_fingerprint: header.payloadFingerprint.to_vec(),
        },
        aggregate: AggregateAttestation { absent, signature },
    })
}
