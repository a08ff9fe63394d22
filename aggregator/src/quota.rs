//! What each rollup spends of its day, as members count it: payload bytes by UTC day, once for each
//! submission (section 12 of `docs/protocol.md`). Members decide; this is for refusing at once what
//! they would refuse for hours.
//!
//! The store knows it by a batch's `quota_day`, so it outlives the process and is the same for all
//! that share the database. Reading it is a sum over the day's batches, so it is read now and then,
//! and before a refusal; what this process adds or takes away in between is counted here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_types::Address;
use dac_types::limits::QUOTA_DAY_SECONDS;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::store::{Store, StoreError};

/// How long what was read counts for a payload that fits.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// How long what was read counts for one that does not.
const READ_BEFORE_REFUSING: Duration = Duration::from_secs(1);

/// A rollup's day is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Bytes that count towards the day already.
    pub spent: u64,
    /// Bytes that the registry grants.
    pub limit: u64,
    /// Bytes of the payload.
    pub asked: u64,
    /// Seconds until the next day.
    pub next_day_in: u64,
}

/// One rollup's day.
#[derive(Clone, Debug)]
struct Book {
    day: u64,
    /// As the store said, and when.
    stored: u64,
    read_at: Option<Instant>,
    /// What this process added since.
    added: i64,
    /// Payloads under way to the store.
    arriving: u64,
}

enum Verdict {
    Fits,
    Exceeds {
        spent: u64,
    },
    /// The store is to be asked first.
    Unknown,
}

impl Book {
    const fn new(day: u64) -> Self {
        Self { day, stored: 0, read_at: None, added: 0, arriving: 0 }
    }

    fn turn_to(&mut self, day: u64) {
        if self.day != day {
            // What is under way counts towards the day on which it arrives.
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
            // One asks the store; the others go by what is known.
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

/// All rollups' days. A rollup that the registry admitted once has an entry.
#[derive(Debug)]
pub struct Quotas {
    store: Arc<dyn Store>,
    books: Books,
}

/// A payload that counts while it arrives, until this is dropped.
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
    /// Nothing is read yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, books: Books::default() }
    }

    /// Whether a payload fits into what is left of the rollup's day; `now` in Unix seconds.
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

    /// A batch of this process counts towards another day than it did, or towards none any more. To
    /// be called once the store has it.
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
