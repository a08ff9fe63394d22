//! Converts batches to the messages that rollups receive, and selectors and page tokens from and to
//! text.

use bytes::Bytes;
use dac_proto::proof::posting_mode_to_wire;
use dac_proto::v1;
use dac_proto::wire;
use dac_types::{B256, Seat};

use crate::batch::{
    Batch, Delivery, Dispersal, L1Record, MemberOutcome, Phase, Proof, ProofState, SubmissionDigest, Waiting,
};
use crate::batches::Selector;
use crate::store::{Listed, PageToken};

/// Converts a batch with the outcome of every member.
pub fn batch_to_wire(batch: &Batch) -> v1::Batch {
    let mut wire = summary_to_wire(batch);
    if let Some(dispersal) = &batch.dispersal {
        wire.digest = Bytes::copy_from_slice(dispersal.digest.as_bytes());
        wire.epoch = dispersal.epoch();
        wire.members = members_to_wire(dispersal);
    }
    wire
}

/// Converts a batch in a listing, without members' outcomes.
pub fn listed_to_wire(listed: &Listed) -> v1::Batch {
    let mut wire = summary_to_wire(&listed.batch);
    if let Some(digest) = listed.digest {
        wire.digest = Bytes::copy_from_slice(digest.as_bytes());
        wire.epoch = listed.epoch;
    }
    wire
}

fn summary_to_wire(batch: &Batch) -> v1::Batch {
    let failure = match &batch.phase {
        Phase::Failed(failure) => failure.to_string(),
        _ => String::new(),
    };
    v1::Batch {
        submission_digest: Bytes::copy_from_slice(batch.id.0.as_slice()),
        digest: Bytes::new(),
        submission: Some((&batch.submission.submission).into()),
        epoch: 0,
        state: state_to_wire(&batch.phase).into(),
        failure,
        members: Vec::new(),
        l1: batch.l1.as_ref().map(l1_to_wire),
        received_at_ms: batch.received_at_ms,
        certified_at_ms: batch.certificate.as_ref().map_or(0, |certified| certified.at_ms),
        l1_problem: batch.l1_problem.clone(),
        posting: posting_mode_to_wire(batch.posting).into(),
        proof: batch.proof.as_ref().map(proof_to_wire),
        settlement: batch.settlement.as_ref().map(l1_to_wire),
        waiting: batch.waiting().map(waiting_to_wire),
    }
}

fn waiting_to_wire(waiting: &Waiting) -> v1::Waiting {
    let Waiting { obstruction, since_ms } = waiting;
    v1::Waiting {
        reason: obstruction.reason.clone(),
        detail: obstruction.detail.clone(),
        since_ms: *since_ms,
    }
}

/// Converts a batch that has no certificate to its short form, which says what it waits for.
pub fn waiting_batch_to_wire(batch: &Batch) -> v1::WaitingBatch {
    let order = &batch.submission.submission;
    v1::WaitingBatch {
        submission_digest: Bytes::copy_from_slice(batch.id.0.as_slice()),
        rollup: Bytes::copy_from_slice(order.rollup.as_slice()),
        batch_number: order.batch_number,
        state: state_to_wire(&batch.phase).into(),
        received_at_ms: batch.received_at_ms,
        waiting: batch.waiting().map(waiting_to_wire),
        certified_at_ms: batch.certificate.as_ref().map_or(0, |certified| certified.at_ms),
        l1_problem: batch.l1_problem.clone(),
    }
}

fn proof_to_wire(proof: &Proof) -> v1::Proof {
    let (state, reason) = match &proof.state {
        ProofState::Received => (v1::ProofState::Received, ""),
        ProofState::Accepted => (v1::ProofState::Accepted, ""),
        ProofState::Rejected { reason } => (v1::ProofState::Rejected, reason.as_str()),
    };
    v1::Proof {
        state: state.into(),
        reason: reason.to_owned(),
        proof_hash: Bytes::copy_from_slice(proof.hash.as_slice()),
        new_state_root: Bytes::copy_from_slice(proof.transition.new_state_root.as_slice()),
        inputs_consumed: proof.transition.inputs_consumed,
        outputs: Bytes::copy_from_slice(proof.transition.outputs.as_slice()),
        received_at_ms: proof.received_at_ms,
    }
}

const fn state_to_wire(phase: &Phase) -> v1::BatchState {
    match phase {
        Phase::Received => v1::BatchState::Received,
        Phase::Dispersing => v1::BatchState::Dispersing,
        Phase::Certified => v1::BatchState::Certified,
        Phase::Proved => v1::BatchState::Proved,
        Phase::Settled => v1::BatchState::Settled,
        Phase::Posted => v1::BatchState::Posted,
        Phase::Failed(_) => v1::BatchState::Failed,
        Phase::Expired => v1::BatchState::Expired,
    }
}

fn members_to_wire(dispersal: &Dispersal) -> Vec<v1::MemberOutcome> {
    Seat::all(dispersal.quorum.geometry().n())
        .zip(&dispersal.members)
        .map(|(seat, member)| v1::MemberOutcome {
            seat: seat.0.into(),
            state: delivery_to_wire(member).into(),
            attempts: member.attempts,
            reason: member.reason.clone(),
            detail: member.detail.clone(),
            attested_at_ms: member.attested_at_ms,
            in_certificate: member.in_certificate,
        })
        .collect()
}

/// Converts a member's delivery state. A signature that is not verified yet is not shown as
/// attested.
const fn delivery_to_wire(member: &MemberOutcome) -> v1::DeliveryState {
    match member.delivery {
        Delivery::Pending | Delivery::Claimed(_) => v1::DeliveryState::Pending,
        Delivery::Attested(_) => v1::DeliveryState::Attested,
        Delivery::Retrying => v1::DeliveryState::Retrying,
        Delivery::Refused => v1::DeliveryState::Refused,
        Delivery::Lied => v1::DeliveryState::Lied,
    }
}

fn l1_to_wire(record: &L1Record) -> v1::L1Record {
    v1::L1Record {
        transaction: record
            .transaction
            .map(|hash| Bytes::copy_from_slice(hash.as_slice()))
            .unwrap_or_default(),
        block: record.block,
        gas_used: record.gas_used,
        by_us: record.by_us,
    }
}

/// Reads which batch a request is about.
pub fn selector(wire: Option<v1::BatchSelector>) -> Result<Selector, wire::WireError> {
    use v1::batch_selector::By;
    match wire::required("batch.by", wire::required("batch", wire)?.by)? {
        By::SubmissionDigest(bytes) => wire::hash("batch.submission_digest", &bytes)
            .map(|digest| Selector::Submission(SubmissionDigest(digest))),
        By::Digest(bytes) => wire::digest("batch.digest", &bytes).map(Selector::Digest),
    }
}

/// The number of hexadecimal digits of a page token: 8 bytes of time and 32 of the batch's
/// identity.
const TOKEN_DIGITS: usize = 80;

/// Writes a page token as text that only this server can interpret.
pub fn page_token_to_wire(token: PageToken) -> String {
    format!("{:016x}{:x}", token.received_at_ms, token.id.0)
}

/// Reads a page token. Text of another form is refused; a forged token of the right form is not
/// noticed.
pub fn page_token(text: &str) -> Result<Option<PageToken>, wire::WireError> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed =
        || wire::WireError::Text { field: "page_token", problem: "was not given out by this service" };
    if text.len() != TOKEN_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let (time, id) = text.split_at(16);
    let received_at_ms = u64::from_str_radix(time, 16).map_err(|_| malformed())?;
    let id: B256 = id.parse().map_err(|_| malformed())?;
    Ok(Some(PageToken { received_at_ms, id: SubmissionDigest(id) }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn selectors_must_be_whole() {
        use v1::batch_selector::By;
        assert!(selector(None).is_err());
        assert!(selector(Some(v1::BatchSelector { by: None })).is_err());
        for length in [0, 31, 33] {
            let by = Some(By::Digest(vec![0; length].into()));
            assert!(selector(Some(v1::BatchSelector { by })).is_err());
        }
    }

    proptest! {
        #[test]
        fn page_tokens_round_trip(received_at_ms in any::<u64>(), id in any::<[u8; 32]>()) {
            let token = PageToken { received_at_ms, id: SubmissionDigest(id.into()) };
            prop_assert_eq!(page_token(&page_token_to_wire(token)).unwrap(), Some(token));
        }

        #[test]
        fn any_text_is_a_token_or_refused(text in "\\PC{0,90}") {
            let _ = page_token(&text);
        }
    }
}
