//! Counts what each rollup has spent of its daily quota, in the same way as members do: payload
//! bytes by UTC day, once for each submission (section 12 of `docs/protocol.md`). The members
//! enforce the quota. The aggregator counts so that it can refuse at once what members would refuse
//! for the rest of the day.
//!
//! The store sums the bytes of the batches whose `quota_day` is the day, so the count survives
//! restarts and is the same for all processes that share the database. Because that sum is costly,
//! it is read only every few seconds, and before a refusal; in between, this module adds what this
//! process changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_types::Address;
use dac_types::limits::QUOTA_DAY_SECONDS;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::store::{Store, StoreError};

/// How long a sum that was read may be used to accept a payload.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// How long a sum that was read may be used to refuse a payload.
const READ_BEFORE_REFUSING: Duration = Duration::from_secs(1);

/// The numbers of a refusal because a rollup's daily quota is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The bytes that already count towards the day.
    pub spent: u64,
    /// The daily quota in the registry, in bytes.
    pub limit: u64,
    /// The length of the payload, in bytes.
    pub asked: u64,
    /// The seconds until the next UTC day begins.
    pub next_day_in: u64,
}

/// What one rollup has spent on the current UTC day.
#[derive(Clone, Debug)]
struct Book {
    day: u64,
    /// The sum that the store returned at `read_at`.
    stored: u64,
    read_at: Option<Instant>,
    /// The bytes that this process added or took back since then.
    added: i64,
    /// The bytes of payloads that are being uploaded.
    arriving: u64,
}

enum Verdict {
    Fits,
    Exceeds {
        spent: u64,
    },
    /// The last sum is too old; the store must be asked first.
    Unknown,
}

impl Book {
    const fn new(day: u64) -> Self {
        Self { day, stored: 0, read_at: None, added: 0, arriving: 0 }
    }

    fn turn_to(&mut self, day: u64) {
        if self.day != day {
            // Uploads under way count towards the day on which they arrive.
            *self = Self { arriving: self.arriving, ..Self::new(day) };
        }
    }

    const fn spent(&self) -> u64 {
        self.stored.saturating_add_signed(self.added).saturating_add(self.arriving)
    }

    fn weigh(&mut self, bytes: u64, limit: u64, now: Instant) -> Verdict {
        let Some(age) = self.read_at.map(|at| now.saturating_duration_since(at)) else {
            return Verdict::Unknown;
        };
        let spent = self.spent();
        let fits = spent.saturating_add(bytes) <= limit;
        if age >= if fits { READ_AGAIN } else { READ_BEFORE_REFUSING } {
            // Only this caller asks the store; until it has, others use the old sum.
            self.read_at = Some(now);
            return Verdict::Unknown;
        }
        if fits { Verdict::Fits } else { Verdict::Exceeds { spent } }
    }

    fn read(&mut self, stored: u64, now: Instant) {
        (self.stored, self.added, self.read_at) = (stored, 0, Some(now));
    }
}

type Books = Arc<Mutex<HashMap<Address, Book>>>;

/// What all rollups have spent of their day, with one entry for each admitted rollup that submitted
/// since the start.
#[derive(Debug)]
pub struct Quotas {
    store: Arc<dyn Store>,
    books: Books,
}

/// The bytes of a payload that is being uploaded. They count towards the day until this is dropped.
#[derive(Debug)]
pub struct Arriving {
    books: Books,
    rollup: Address,
    bytes: u64,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(book) = self.books.lock().get_mut(&self.rollup) {
            book.arriving = book.arriving.saturating_sub(self.bytes);
        }
    }
}

impl Quotas {
    /// Makes the counts; nothing is read from the store yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, books: Books::default() }
    }

    /// Checks that a payload fits into what is left of the rollup's day. `now` is in Unix seconds.
    pub async fn admit(
        &self,
        rollup: Address,
        bytes: u64,
        limit: u64,
        now: u64,
    ) -> Result<Result<Arriving, Spent>, StoreError> {
        let day = now / QUOTA_DAY_SECONDS;
        loop {
            {
                let mut books = self.books.lock();
                let book = books.entry(rollup).or_insert_with(|| Book::new(day));
                book.turn_to(day);
                match book.weigh(bytes, limit, Instant::now()) {
                    Verdict::Fits => {
                        book.arriving += bytes;
                        return Ok(Ok(Arriving { books: Arc::clone(&self.books), rollup, bytes }));
                    }
                    Verdict::Exceeds { spent } => {
                        let next_day_in = QUOTA_DAY_SECONDS - now % QUOTA_DAY_SECONDS;
                        return Ok(Err(Spent { spent, limit, asked: bytes, next_day_in }));
                    }
                    Verdict::Unknown => {}
                }
            }
            let stored = self.store.quota_spent(rollup, day).await?;
            if let Some(book) = self.books.lock().get_mut(&rollup).filter(|book| book.day == day) {
                book.read(stored, Instant::now());
            }
        }
    }

    /// Moves a batch of this process from one day to another; day 0 is none. Call it after the
    /// change is stored.
    pub fn moved(&self, batch: &Batch, from: u64, to: u64) {
        if from == to {
            return;
        }
        let order = &batch.submission.submission;
        let bytes = order.payload_length.cast_signed();
        if let Some(book) = self.books.lock().get_mut(&order.rollup) {
            if book.day == from {
                book.added -= bytes;
            }
            if book.day == to {
                book.added += bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 20_000;

    fn read(stored: u64, now: Instant) -> Book {
        let mut book = Book::new(DAY);
        assert!(
            matches!(book.weigh(1, 100, now), Verdict::Unknown),
            "nothing is decided by what was not read"
        );
        book.read(stored, now);
        book
    }

    #[test]
    fn what_is_stored_and_what_arrives_counts() {
        let now = Instant::now();
        let mut book = read(60, now);
        assert!(matches!(book.weigh(40, 100, now), Verdict::Fits));
        assert!(matches!(book.weigh(41, 100, now), Verdict::Exceeds { spent: 60 }));
        book.arriving += 40;
        assert!(matches!(book.weigh(1, 100, now), Verdict::Exceeds { spent: 100 }));
        // A batch that failed gives its bytes back.
        book.added -= 30;
        assert!(matches!(book.weigh(30, 100, now), Verdict::Fits));
        assert!(matches!(book.weigh(u64::MAX, u64::MAX - 1, now), Verdict::Exceeds { .. }));
    }

    #[test]
    fn the_store_is_asked_again_by_one_at_a_time() {
        let now = Instant::now();
        let mut book = read(60, now);
        let later = now + READ_AGAIN;
        assert!(matches!(book.weigh(1, 100, later), Verdict::Unknown));
        assert!(matches!(book.weigh(1, 100, later), Verdict::Fits), "the others do not wait for it");
        let mut book = read(60, now);
        let soon = now + READ_BEFORE_REFUSING;
        assert!(matches!(book.weigh(1, 100, soon), Verdict::Fits));
        assert!(matches!(book.weigh(41, 100, soon), Verdict::Unknown), "no refusal by what is old");
        book.read(10, soon);
        assert!(matches!(book.weigh(41, 100, soon), Verdict::Fits));
    }

    #[test]
    fn a_new_day_begins_with_what_is_under_way() {
        let now = Instant::now();
        let mut book = read(60, now);
        book.arriving = 7;
        book.turn_to(DAY + 1);
        assert!(matches!(book.weigh(1, 100, now), Verdict::Unknown));
        book.read(0, now);
        assert_eq!(book.spent(), 7);
    }
}
