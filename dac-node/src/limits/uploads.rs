//! Limits the uploads in flight, counted in the bytes that they are going to send. Beyond the limit
//! a caller is told to come back.
//!
//! No rollup and no disperser holds more than its share, so the others find room. The announced
//! bytes count from the beginning, and they must come at the rate at which the upload ends in time,
//! so room cannot be held by sending nothing.

use std::sync::Arc;
use std::time::Duration;

use dac_admission::{Admission, Claim, Limit, Permit, QueueLimits, Refused};
use dac_types::limits::PAYLOAD_MAX_BYTES;
use dac_types::{Address, B256};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::{Instant, timeout};

use super::{ClientKey, Group};

/// The weight of one upload's duration in the running average is 1/8.
const AVERAGE_WEIGHT: u32 = 8;
/// The estimate before an upload was observed, and the bounds of estimates.
const ESTIMATE_FIRST: Duration = Duration::from_secs(1);
const ESTIMATE_MIN: Duration = Duration::from_millis(100);
const ESTIMATE_MAX: Duration = Duration::from_secs(5);
/// A rollup may hold one part in this many of the bytes.
const ROLLUP_PART: u64 = 4;
/// A disperser may hold one part in this many of the bytes.
const DISPERSER_PART: u64 = 2;
/// The longest wait for another upload of the same order by the same client.
const SAME_ORDER_WAIT: Duration = Duration::from_secs(10);
/// The number of uploads that may wait for one of the same order.
const WAITING: QueueLimits = QueueLimits { total: 256, per_party: 64 };

/// The bounds of what may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// The number of bytes of shards and payloads being received.
    pub bytes: u64,
    /// The number of uploads of one rollup, so that no rollup keeps the others out.
    pub per_rollup: u32,
}

impl UploadLimits {
    /// Returns a part of the bytes, which is at least one payload.
    fn share(&self, part: u64) -> u64 {
        (self.bytes / part).max(PAYLOAD_MAX_BYTES)
    }
}

/// The party that holds room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Party {
    Rollup(Address),
    /// The clients that are not known to deliver for a rollup. Records are public, and a stranger
    /// has no claim to the rollup's room.
    Strangers(Address),
    Disperser(Address),
    /// The uploads of one order by one client.
    Order(B256, ClientKey),
}

/// The order of an upload, and its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The rollup whose order it is.
    pub rollup: Address,
    /// The disperser that the order names.
    pub disperser: Address,
    /// The digest of the order.
    pub submission: B256,
    /// The client that sends the upload.
    pub client: ClientKey,
    /// The group whose share the sender uses.
    pub group: Group,
}

/// The reason why an upload or a renewal has to wait: a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what}: {in_flight} of {limit} are in flight; try again in about {} ms", .retry_after.as_millis())]
pub struct Busy {
    /// The limit that is reached.
    pub what: &'static str,
    /// What is in flight now.
    pub in_flight: u64,
    /// What may be in flight.
    pub limit: u64,
    /// The estimated time until there is room.
    pub retry_after: Duration,
}

/// The uploads in flight.
#[derive(Clone, Debug)]
pub struct Uploads {
    limits: UploadLimits,
    bytes: Admission<Party>,
    places: Admission<Party>,
    /// The average duration of uploads that were stored. Failed ones do not count, because their
    /// callers may make them slow on purpose.
    average: Arc<Mutex<Option<Duration>>>,
}

impl Uploads {
    /// Makes the limits, with no upload in flight.
    pub fn new(limits: UploadLimits) -> Self {
        Self {
            limits,
            bytes: Admission::without_queue(limits.bytes),
            places: Admission::new(u64::MAX, WAITING),
            average: Arc::default(),
        }
    }

    /// Waits for its turn if the same client is already uploading under the same order. The turn
    /// ends when it is dropped.
    ///
    /// # Errors
    /// It fails if the turn does not come in time, or if the rollup has as many uploads as it may.
    pub async fn turn(&self, order: &Order) -> Result<UploadTurn, Busy> {
        let of_order = Party::Order(order.submission, order.client);
        let per_rollup = u64::from(self.limits.per_rollup);
        let mut claim = Claim::new(1, Party::Rollup(order.rollup), per_rollup).and(of_order, 1);
        if !order.group.is_known {
            claim = claim.and(Party::Strangers(order.rollup), per_rollup.div_ceil(2));
        }
        let refused = match self.places.try_admit(claim.clone()) {
            Ok(place) => return Ok(UploadTurn { waited: false, _place: place }),
            Err(refused) => refused,
        };
        if refused.limit == Limit::Share(of_order) {
            match timeout(SAME_ORDER_WAIT, self.places.admit(claim)).await {
                Ok(Ok(place)) => return Ok(UploadTurn { waited: true, _place: place }),
                Ok(Err(full)) => return Err(self.busy(&full, "uploads of this rollup")),
                Err(_) => {}
            }
        }
        Err(self.busy(&refused, "uploads of this rollup"))
    }

    /// Reserves room for `bytes` until the permit is dropped.
    ///
    /// # Errors
    /// It fails if the rollup or the disperser holds its share, or if all room is in use.
    pub fn admit(&self, order: &Order, bytes: u64) -> Result<UploadPermit, Busy> {
        let of_rollup = self.limits.share(ROLLUP_PART);
        let mut claim = Claim::new(bytes, Party::Rollup(order.rollup), of_rollup)
            .and(Party::Disperser(order.disperser), self.limits.share(DISPERSER_PART));
        if !order.group.is_known {
            claim = claim.and(Party::Strangers(order.rollup), (of_rollup / 2).max(PAYLOAD_MAX_BYTES));
        }
        let permit =
            self.bytes.try_admit(claim).map_err(|refused| self.busy(&refused, "bytes of uploads"))?;
        self.show();
        Ok(UploadPermit { uploads: self.clone(), permit: Some(permit), since: Instant::now() })
    }

    fn busy(&self, refused: &Refused<Party>, all: &'static str) -> Busy {
        let what = match refused.limit {
            Limit::Share(Party::Rollup(_)) if all == "bytes of uploads" => "bytes of uploads of this rollup",
            Limit::Share(Party::Strangers(_)) => "uploads of this rollup by clients that are not known",
            Limit::Share(Party::Disperser(_)) => "bytes of uploads of this disperser",
            Limit::Share(Party::Order(..)) => "uploads of this order by this client",
            Limit::Share(Party::Rollup(_)) | Limit::Capacity | Limit::Queue => all,
        };
        let average = *self.average.lock();
        let retry_after = average.unwrap_or(ESTIMATE_FIRST).clamp(ESTIMATE_MIN, ESTIMATE_MAX);
        Busy { what, in_flight: refused.held, limit: refused.most, retry_after }
    }

    /// Returns the number of bytes in flight.
    pub fn bytes(&self) -> u64 {
        self.bytes.used()
    }

    fn show(&self) {
        metrics::gauge!("dac_node_upload_bytes_in_flight").set(u64_to_f64(self.bytes()));
    }
}

/// A place among the uploads of a rollup. It is given back when it is dropped.
#[derive(Debug)]
pub struct UploadTurn {
    /// Whether another upload of the same order ended just now. It may have been stored.
    pub waited: bool,
    _place: Permit<Party>,
}

/// Room for one upload. It is given back when it is dropped.
#[derive(Debug)]
pub struct UploadPermit {
    uploads: Uploads,
    permit: Option<Permit<Party>>,
    since: Instant,
}

impl UploadPermit {
    /// Notes that the upload is stored. Its duration enters the estimate that callers are told.
    pub fn stored(self) {
        let took = self.since.elapsed();
        let mut average = self.uploads.average.lock();
        *average = Some(match *average {
            None => took,
            Some(average) => (average * (AVERAGE_WEIGHT - 1) + took) / AVERAGE_WEIGHT,
        });
    }
}

impl Drop for UploadPermit {
    fn drop(&mut self) {
        self.permit = None;
        self.uploads.show();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn u64_to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;
    const ROLLUP: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    fn order(rollup: Address, number: u8) -> Order {
        Order {
            rollup,
            disperser: rollup,
            submission: B256::repeat_byte(number),
            client: ClientKey::V4([10, 0, 0, 1]),
            group: Group { rollup: Some(rollup), is_known: true },
        }
    }

    fn by_a_stranger(order: Order) -> Order {
        Order { group: Group { is_known: false, ..order.group }, ..order }
    }

    #[test]
    fn a_rollup_and_a_disperser_hold_their_share_and_the_others_find_room() {
        let uploads = Uploads::new(UploadLimits { bytes: 512 * MIB, per_rollup: 8 });
        let _held = [(); 2].map(|()| uploads.admit(&order(ROLLUP, 1), 64 * MIB).unwrap());
        let busy = uploads.admit(&order(ROLLUP, 1), 1).unwrap_err();
        assert_eq!((busy.in_flight, busy.limit), (128 * MIB, 128 * MIB));
        assert_eq!(busy.what, "bytes of uploads of this rollup");
        // Several rollups name this disperser.
        let named = |number| Order { disperser: ROLLUP, ..order(Address::repeat_byte(number), 1) };
        let _named = [2, 2, 3, 3].map(|number| uploads.admit(&named(number), 32 * MIB).unwrap());
        let busy = uploads.admit(&named(4), 1).unwrap_err();
        assert_eq!((busy.what, busy.limit), ("bytes of uploads of this disperser", 256 * MIB));
        let _other = [(); 2].map(|()| uploads.admit(&order(Address::repeat_byte(5), 1), 64 * MIB).unwrap());
    }

    #[test]
    fn bytes_come_back_when_a_permit_is_dropped() {
        let uploads = Uploads::new(UploadLimits { bytes: 100, per_rollup: 8 });
        let first = uploads.admit(&order(ROLLUP, 1), 60).unwrap();
        let busy = uploads.admit(&order(OTHER, 1), 41).unwrap_err();
        assert_eq!((busy.what, busy.in_flight, busy.limit), ("bytes of uploads", 60, 100));
        let second = uploads.admit(&order(OTHER, 1), 40).unwrap();
        drop(first);
        assert_eq!(uploads.bytes(), 40);
        drop(second);
        assert_eq!(uploads.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_uploads_that_come_to_nothing_do_not_set_the_hint() {
        let uploads = Uploads::new(UploadLimits { bytes: 100, per_rollup: 8 });
        let hint = || {
            let _held = uploads.admit(&order(ROLLUP, 1), 100).unwrap();
            uploads.admit(&order(OTHER, 1), 1).unwrap_err().retry_after
        };
        let fast = uploads.admit(&order(ROLLUP, 1), 1).unwrap();
        tokio::time::advance(Duration::from_millis(200)).await;
        fast.stored();
        for _ in 0..100 {
            let slow = uploads.admit(&order(ROLLUP, 1), 1).unwrap();
            tokio::time::advance(Duration::from_secs(120)).await;
            drop(slow);
        }
        assert_eq!(hint(), Duration::from_millis(200));
        // Nor do slow uploads that are stored in the end set a long one.
        for _ in 0..100 {
            let slow = uploads.admit(&order(ROLLUP, 1), 1).unwrap();
            tokio::time::advance(Duration::from_secs(120)).await;
            slow.stored();
        }
        assert_eq!(hint(), ESTIMATE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_rollup_and_strangers_in_its_name_keep_nobody_out() {
        let uploads = Uploads::new(UploadLimits { bytes: 1000, per_rollup: 4 });
        let stranger = |number| by_a_stranger(order(ROLLUP, number));
        let _strangers =
            [uploads.turn(&stranger(1)).await.unwrap(), uploads.turn(&stranger(2)).await.unwrap()];
        let busy = uploads.turn(&stranger(3)).await.unwrap_err();
        assert_eq!((busy.what, busy.limit), ("uploads of this rollup by clients that are not known", 2));
        let _held =
            [uploads.turn(&order(ROLLUP, 4)).await.unwrap(), uploads.turn(&order(ROLLUP, 5)).await.unwrap()];
        assert_eq!(uploads.turn(&order(ROLLUP, 6)).await.unwrap_err().limit, 4);
        assert!(uploads.turn(&order(OTHER, 9)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_uploaded_once_at_a_time_by_one_client() {
        let uploads = Uploads::new(UploadLimits { bytes: 1000, per_rollup: 4 });
        let first = uploads.turn(&order(ROLLUP, 1)).await.unwrap();
        let mut second = Box::pin(async { uploads.turn(&order(ROLLUP, 1)).await });
        assert!((&mut second).now_or_never().is_none());
        let elsewhere = Order { client: ClientKey::V4([10, 0, 0, 2]), ..order(ROLLUP, 1) };
        let _other = uploads.turn(&elsewhere).await.unwrap();
        drop(first);
        let _second = second.await.unwrap();
        assert_eq!(uploads.turn(&order(ROLLUP, 1)).await.unwrap_err().limit, 1, "the wait has an end");
    }
}
