//! The messages that a member is sent, and the checks of its answer.

use bytes::Bytes;
use dac_bls::Signature;
use dac_proto::v1;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{Attestation, BatchDigest, RenewalDigest, Seat, SignatureBytes};

use super::failure::CallFailure;

/// One delivery to one seat.
#[derive(Clone, Debug)]
pub struct StoreShard {
    /// The first message: chain, registry, seat and record.
    pub open: v1::StoreShardOpen,
    /// The shard or the whole payload. It is empty if the member has its shard and needs only the
    /// certificate.
    pub body: Bytes,
    /// The digest of the record's header.
    pub digest: BatchDigest,
    /// The member's seat.
    pub seat: Seat,
}

/// Returns the stream of messages: `open`, then slices of the body. Nothing is copied.
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

/// Checks that an answer is this seat's attestation of this digest. Any other answer counts as a
/// lie. Of the signature it checks only that it is a point of the right group; the caller verifies
/// it.
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

/// Checks that an answer is this seat's signature of this renewal. Of the signature it checks only
/// the length; the caller verifies it.
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
