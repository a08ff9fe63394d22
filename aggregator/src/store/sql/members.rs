//! Members' answers to a header: a row for each member that answered or failed. One statement
//! writes many rows.

use std::fmt::Write as _;

use dac_database::sqlx::{self, AssertSqlSafe};
use dac_database::{AnyConnection, u64_to_sql};
use dac_types::Seat;

use super::rows::delivery_to_columns;
use crate::batch::{Batch, MemberOutcome, SubmissionDigest};
use crate::store::StoreError;

/// Number of rows in one statement at most: SQLite takes some 32,000 variables.
const ROWS_PER_STATEMENT: usize = 64;
/// Number of columns of a row.
const COLUMNS: usize = 11;

/// Members' outcomes that differ from the stored ones.
pub(super) struct Changed {
    id: SubmissionDigest,
    epoch: u64,
    members: Vec<(Seat, MemberOutcome)>,
}

impl Changed {
    /// Returns the outcomes that changed. With a new header all outcomes are new, except that a
    /// member of which nothing is known yet has no row.
    pub(super) fn of(before: &Batch, after: &Batch) -> Option<Self> {
        let new = after.dispersal.as_ref()?;
        let old = before.dispersal.as_ref().filter(|old| old.digest == new.digest);
        let nothing = MemberOutcome::NEW;
        let former = |seat: Seat| old.map_or(Some(&nothing), |old| old.members.get(seat.index()));
        let members: Vec<_> = Seat::all(new.quorum.geometry().n())
            .zip(&new.members)
            .filter(|(seat, member)| former(*seat) != Some(*member))
            .map(|(seat, member)| (seat, member.clone()))
            .collect();
        (!members.is_empty()).then(|| Self { id: after.id, epoch: new.epoch(), members })
    }

    pub(super) async fn write(self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let mut left = &self.members[..];
        while !left.is_empty() {
            // The numbers of rows are powers of two: connections keep statements prepared, and
            // should not have to keep one for each number of rows.
            let rows = (1 << left.len().ilog2()).min(ROWS_PER_STATEMENT);
            let (now, later) = left.split_at(rows);
            self.upsert(connection, now).await?;
            left = later;
        }
        Ok(())
    }

    async fn upsert(
        &self,
        connection: &mut AnyConnection,
        members: &[(Seat, MemberOutcome)],
    ) -> Result<(), StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(statement(members.len())));
        for (seat, member) in members {
            let (delivery, signature) = delivery_to_columns(member.delivery);
            query = query
                .bind(&self.id.0[..])
                .bind(u64_to_sql(self.epoch))
                .bind(i64::from(seat.0))
                .bind(delivery)
                .bind(signature)
                .bind(i64::from(member.attempts))
                .bind(&member.reason[..])
                .bind(&member.detail[..])
                .bind(u64_to_sql(member.attested_at_ms))
                .bind(i64::from(member.in_certificate))
                .bind(i64::from(member.certificate_done));
        }
        query.execute(connection).await?;
        Ok(())
    }
}

fn statement(rows: usize) -> String {
    let mut statement = String::from(
        "INSERT INTO members (submission_digest, epoch, seat, delivery, signature, attempts, reason, detail,
            attested_at_ms, in_certificate, certificate_done) VALUES ",
    );
    for row in 0..rows {
        let separator = if row == 0 { "" } else { ", " };
        let columns: Vec<String> =
            (1..=COLUMNS).map(|column| format!("${}", row * COLUMNS + column)).collect();
        let _ = write!(statement, "{separator}({})", columns.join(", "));
    }
    statement.push_str(
        " ON CONFLICT (submission_digest, epoch, seat) DO UPDATE SET delivery = excluded.delivery,
            signature = excluded.signature, attempts = excluded.attempts, reason = excluded.reason,
            detail = excluded.detail, attested_at_ms = excluded.attested_at_ms,
            in_certificate = excluded.in_certificate, certificate_done = excluded.certificate_done",
    );
    statement
}

/// Deletes members' answers to a former header of the same epoch, when a header is made again for
/// an epoch in which the batch was dispersed before. The members are asked again.
pub(super) async fn forget(
    connection: &mut AnyConnection,
    id: SubmissionDigest,
    epoch: u64,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM members WHERE submission_digest = $1 AND epoch = $2")
        .bind(&id.0[..])
        .bind(u64_to_sql(epoch))
        .execute(connection)
        .await?;
    Ok(())
}
