//! A batch's way to settlement: its posting mode, its proof and where it settled, in a row of their
//! own.

use bytes::Bytes;
use dac_database::sqlx::any::AnyRow;
use dac_database::sqlx::{self, Row};
use dac_database::{AnyConnection, u64_from_sql, u64_to_sql};
use dac_poster::{Posting, Task};
use dac_types::{B256, BatchDigest, PostingMode, Transition, keccak256};

use super::columns::{b256, corrupt};
use super::connection::SqlStore;
use crate::batch::{Batch, L1Record, Proof, ProofState, SubmissionDigest};
use crate::store::StoreError;

/// The columns of the row, which are selected beside those of the batch. All are NULL for batches
/// that are older than settlements.
pub(super) const SETTLEMENT_COLUMNS: &str = "s.posting AS s_posting, s.proof_state AS s_proof_state, \
    s.proof_reason AS s_proof_reason, s.proof_hash AS s_proof_hash, s.new_state_root AS s_new_state_root, \
    s.inputs_consumed AS s_inputs_consumed, s.outputs AS s_outputs, s.proof_at_ms AS s_proof_at_ms, \
    s.settled AS s_settled, s.transaction_hash AS s_transaction_hash, s.block AS s_block, s.gas_used AS s_gas_used, \
    s.by_us AS s_by_us";

/// Returns the name under which a proof's state is stored.
pub(super) const fn state_name(state: &ProofState) -> &'static str {
    match state {
        ProofState::Received => "received",
        ProofState::Accepted => "accepted",
        ProofState::Rejected { .. } => "rejected",
    }
}

/// Fills in the batch's fields that the row has. The proof's bytes are in another table.
pub(super) fn read_into(batch: &mut Batch, row: &AnyRow) -> Result<(), StoreError> {
    let Some(posting) = row.try_get::<Option<String>, _>("s_posting")? else { return Ok(()) };
    let wrong = |what: &'static str, problem: String| corrupt(batch.id, what)(problem);
    batch.posting = PostingMode::of_word(&posting)
        .ok_or_else(|| wrong("the posting mode", format!("unknown: {posting:?}")))?;
    let hash = |column: &str| -> Result<B256, StoreError> {
        let bytes: Vec<u8> = row.try_get(column)?;
        b256(&bytes).ok_or_else(|| wrong("the proof", format!("{column} has {} bytes", bytes.len())))
    };
    let state = match row.try_get::<String, _>("s_proof_state")?.as_str() {
        "none" => None,
        "received" => Some(ProofState::Received),
        "accepted" => Some(ProofState::Accepted),
        "rejected" => Some(ProofState::Rejected { reason: row.try_get("s_proof_reason")? }),
        other => return Err(wrong("the proof", format!("unknown state {other:?}"))),
    };
    if let Some(state) = state {
        batch.proof = Some(Proof {
            transition: Transition {
                new_state_root: hash("s_new_state_root")?,
                inputs_consumed: u64_from_sql(row.try_get("s_inputs_consumed")?),
                outputs: hash("s_outputs")?,
            },
            hash: hash("s_proof_hash")?,
            bytes: Bytes::new(),
            state,
            received_at_ms: u64_from_sql(row.try_get("s_proof_at_ms")?),
        });
    }
    if row.try_get::<i64, _>("s_settled")? != 0 {
        let transaction: Vec<u8> = row.try_get("s_transaction_hash")?;
        batch.settlement = Some(L1Record {
            transaction: b256(&transaction),
            block: u64_from_sql(row.try_get("s_block")?),
            gas_used: u64_from_sql(row.try_get("s_gas_used")?),
            by_us: row.try_get::<i64, _>("s_by_us")? != 0,
        });
    }
    Ok(())
}

/// Reads the bytes of a proof that may still settle its batch.
pub(super) async fn read_proof(connection: &mut AnyConnection, batch: &mut Batch) -> Result<(), StoreError> {
    let id = batch.id;
    let wanted = batch.live_proof().is_some() && !batch.is_over();
    let Some(proof) = batch.proof.as_mut().filter(|_| wanted) else { return Ok(()) };
    let bytes: Option<Vec<u8>> = sqlx::query_scalar("SELECT proof FROM proofs WHERE submission_digest = $1")
        .bind(id.0.to_vec())
        .fetch_optional(connection)
        .await?;
    match bytes.filter(|bytes| keccak256(bytes) == proof.hash) {
        Some(bytes) => proof.bytes = bytes.into(),
        // The batch is not lost: another proof may be handed in.
        None => batch.lose_proof(),
    }
    Ok(())
}

/// Returns whether the row of one batch would differ from that of the other.
pub(super) fn differs(before: &Batch, after: &Batch) -> bool {
    (before.posting, &before.proof, before.settlement) != (after.posting, &after.proof, after.settlement)
}

/// Writes the row, and the proof's bytes, or removes these.
pub(super) async fn write(connection: &mut AnyConnection, batch: &Batch) -> Result<(), StoreError> {
    let id = batch.id.0.to_vec();
    let proof = batch.proof.as_ref();
    let (state, reason) = match proof.map(|proof| &proof.state) {
        None => ("none", String::new()),
        Some(ProofState::Rejected { reason }) => ("rejected", reason.clone()),
        Some(state) => (state_name(state), String::new()),
    };
    let hash = |value: Option<B256>| value.map(|hash| hash.to_vec()).unwrap_or_default();
    let number = |value: Option<u64>| u64_to_sql(value.unwrap_or(0));
    let (transition, settled) = (proof.map(|proof| proof.transition), batch.settlement);
    sqlx::query(
        "INSERT INTO settlements (submission_digest, posting, proof_state, proof_reason, proof_hash, new_state_root,
            inputs_consumed, outputs, proof_at_ms, settled, transaction_hash, block, gas_used, by_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (submission_digest) DO UPDATE SET posting = excluded.posting, proof_state = excluded.proof_state,
            proof_reason = excluded.proof_reason, proof_hash = excluded.proof_hash,
            new_state_root = excluded.new_state_root, inputs_consumed = excluded.inputs_consumed,
            outputs = excluded.outputs, proof_at_ms = excluded.proof_at_ms, settled = excluded.settled,
            transaction_hash = excluded.transaction_hash, block = excluded.block, gas_used = excluded.gas_used,
            by_us = excluded.by_us",
    )
    .bind(id.clone())
    .bind(batch.posting.word())
    .bind(state)
    .bind(reason)
    .bind(hash(proof.map(|proof| proof.hash)))
    .bind(hash(transition.map(|transition| transition.new_state_root)))
    .bind(number(transition.map(|transition| transition.inputs_consumed)))
    .bind(hash(transition.map(|transition| transition.outputs)))
    .bind(number(proof.map(|proof| proof.received_at_ms)))
    .bind(i64::from(settled.is_some()))
    .bind(hash(settled.and_then(|record| record.transaction)))
    .bind(number(settled.map(|record| record.block)))
    .bind(number(settled.map(|record| record.gas_used)))
    .bind(i64::from(settled.is_some_and(|record| record.by_us)))
    .execute(&mut *connection)
    .await?;
    match proof.map(|proof| &proof.bytes).filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => {
            sqlx::query(
                "INSERT INTO proofs (submission_digest, proof) VALUES ($1, $2)
                 ON CONFLICT (submission_digest) DO UPDATE SET proof = excluded.proof",
            )
            .bind(id)
            .bind(bytes.to_vec())
            .execute(connection)
            .await?;
        }
        None => remove_proof(connection, batch.id).await?,
    }
    Ok(())
}

async fn remove_proof(connection: &mut AnyConnection, id: SubmissionDigest) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM proofs WHERE submission_digest = $1")
        .bind(id.0.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

impl SqlStore {
    pub(super) async fn settlements_without_batch(&self) -> Result<Vec<BatchDigest>, StoreError> {
        let rows = sqlx::query(
            "SELECT p.body FROM postings p JOIN dispersals d ON d.digest = p.digest
             JOIN batches b ON b.submission_digest = d.submission_digest
             WHERE p.done = 0 AND b.phase IN ('failed', 'expired')",
        )
        .fetch_all(self.database.reads())
        .await?;
        let mut orphans = Vec::new();
        for row in &rows {
            let body: String = row.try_get(0)?;
            let posting: Posting = serde_json::from_str(&body)
                .map_err(|error| StoreError::CorruptBooks { problem: error.to_string() })?;
            if matches!(posting.task, Task::Settle(_)) {
                orphans.extend(posting.digest.batch());
            }
        }
        Ok(orphans)
    }
}
