//! What a member is sent, and what its answer must be.

use bytes::Bytes;
use dac_bls::Signature;
use dac_proto::v1;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{Attestation, BatchDigest, RenewalDigest, Seat, SignatureBytes};

use super::failure::CallFailure;

/// What is sent to one seat.
#[derive(Clone, Debug)]
pub struct StoreShard {
    /// Chain, registry, seat and record.
    pub open: v1::StoreShardOpen,
    /// The shard or the whole payload; nothing where the member has it and only the certificate is
    /// new.
    pub body: Bytes,
    /// The digest of the record's header.
    pub digest: BatchDigest,
    /// The member's seat.
    pub seat: Seat,
}

/// `open`, then slices of the body: nothing is copied here.
pub(super) fn messages(store_shard: StoreShard) -> impl Iterator<Item = v1::StoreShardRequest> + Send {
    use v1::store_shard_request::Message;
    let StoreShard { open, mut body, .. } = store_shard;
    let pieces = std::iter::from_fn(move || {
        (!body.is_empty()).then(|| Message::Piece(body.split_to(body.len().min(STREAM_PIECE_MAX_BYTES))))
    });
    std::iter::once(Message::Open(open))
        .chain(pieces)
        .map(|message| v1::StoreShardRequest { message: Some(message) })
}

/// Checks that an answer is this seat's attestation of this digest. Everything else is a lie. The
/// signature is a point of the right group and not verified beyond that.
pub(super) fn check_attestation(
    answer: v1::StoreShardResponse,
    digest: BatchDigest,
    seat: Seat,
) -> Result<SignatureBytes, CallFailure> {
    let attestation = dac_proto::wire::required("attestation", answer.attestation)
        .and_then(Attestation::try_from)
        .map_err(|error| CallFailure::lied("MALFORMED_ATTESTATION", error.to_string()))?;
    if attestation.digest != digest {
        let detail = format!("asked for {digest}, attested {}", attestation.digest);
        return Err(CallFailure::lied("OTHER_DIGEST", detail));
    }
    if attestation.seat != seat {
        return Err(CallFailure::lied(
            "OTHER_SEAT",
            format!("asked seat {seat}, attested as {}", attestation.seat),
        ));
    }
    Signature::from_compressed(&attestation.signature)
        .map_err(|error| CallFailure::lied("BAD_SIGNATURE", error.to_string()))?;
    Ok(attestation.signature)
}

/// Checks that an answer is this seat's signature of this renewal. The signature has the right
/// length and is not verified.
pub(super) fn check_renewal(
    answer: &v1::SignRenewalResponse,
    digest: RenewalDigest,
    seat: Seat,
) -> Result<SignatureBytes, CallFailure> {
    if answer.digest[..] != digest.as_bytes()[..] {
        return Err(CallFailure::lied("OTHER_DIGEST", format!("asked for {digest}, signed another one")));
    }
    if answer.seat != u32::from(seat.0) {
        let detail = format!("asked seat {seat}, signed as {}", answer.seat);
        return Err(CallFailure::lied("OTHER_SEAT", detail));
    }
    <[u8; 48]>::try_from(&answer.signature[..])
        .map(SignatureBytes)
        .map_err(|_| CallFailure::lied("BAD_SIGNATURE", format!("{} bytes", answer.signature.len())))
}
