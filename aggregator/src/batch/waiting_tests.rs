//! Tests what a batch waits for, and the day to whose quota it counts.

use dac_types::Seat;
use dac_types::limits::QUOTA_DAY_SECONDS;

use super::tests::{EXPIRES_AT, answered, certified, digest, dispersal, dispersing, received};
use super::*;

const DAY: u64 = QUOTA_DAY_SECONDS;

fn failed(seat: u8, reason: &str) -> Event {
    Event::DeliveryFailed {
        digest: digest(1),
        seat: Seat(seat),
        kind: DeliveryFailure::Retryable,
        reason: reason.to_owned(),
        detail: "later".to_owned(),
    }
}

fn reason(batch: &Batch) -> Option<&str> {
    batch.waiting().map(|waiting| waiting.obstruction.reason.as_str())
}

#[test]
fn the_reason_is_that_of_most_members_and_only_while_no_quorum_could_sign() {
    let mut batch = dispersing();
    batch.apply(failed(0, "UNREACHABLE"));
    assert_eq!(reason(&batch), None, "three others have not answered");
    batch.apply(failed(1, "QUOTA_EXCEEDED"));
    assert_eq!(reason(&batch), Some("UNREACHABLE"), "of two the first one");
    assert!(batch.is_held_up() && batch.is_retrying(Seat(0)) && !batch.is_retrying(Seat(2)));
    batch.date_waiting(77);
    batch.apply(failed(2, "QUOTA_EXCEEDED"));
    let waiting = batch.waiting().unwrap();
    assert_eq!(
        (waiting.obstruction.reason.as_str(), waiting.since_ms),
        ("QUOTA_EXCEEDED", 0),
        "it is a new one"
    );
    assert!(waiting.obstruction.detail.contains("2 of 4 members"), "{}", waiting.obstruction.detail);
    batch.date_waiting(88);
    batch.apply(failed(3, "UNREACHABLE"));
    batch.date_waiting(99);
    let waiting = batch.waiting().unwrap();
    assert_eq!(
        (waiting.obstruction.reason.as_str(), waiting.since_ms),
        ("QUOTA_EXCEEDED", 88),
        "a tie changes nothing"
    );
    for seat in 0..3 {
        batch.apply(answered(seat));
    }
    assert_eq!(reason(&batch), None);
}

#[test]
fn what_is_not_encoded_says_what_it_waits_for() {
    let mut batch = received();
    batch.apply(Event::Resumed);
    let obstruction = Obstruction { reason: "BUSY".to_owned(), detail: "its turn".to_owned() };
    batch.apply(Event::EncodingWaits(obstruction.clone()));
    assert_eq!(reason(&batch), Some("BUSY"));
    assert!(!batch.is_held_up(), "it holds nothing yet");
    batch.apply(Event::Encoded(dispersal(1)));
    assert_eq!(reason(&batch), None);
    // The encoder's obstruction comes too late.
    batch.apply(Event::EncodingWaits(obstruction));
    assert_eq!(reason(&batch), None);
}

#[test]
fn a_reason_is_nothing_that_has_to_be_stored() {
    let mut batch = received();
    let saved = batch.clone();
    batch.apply(Event::EncodingWaits(Obstruction { reason: "BUSY".to_owned(), detail: String::new() }));
    batch.date_waiting(5);
    assert!(batch != saved && batch.is_stored_as(&saved) && batch.may_wait(&saved));
}

#[test]
fn the_end_of_an_epoch_ends_the_reason() {
    let mut batch = dispersing();
    for seat in 0..4 {
        batch.apply(failed(seat, "EPOCH_NOT_ACTIVE"));
    }
    assert!(batch.is_held_up());
    batch.apply(Event::EpochOver { epoch: 1 });
    assert_eq!(reason(&batch), None);
}

#[test]
fn a_batch_counts_towards_the_day_on_which_it_would_be_stored() {
    let mut batch = Batch { quota_day: 0, ..dispersing() };
    batch.apply(Event::TimePassed { now: 5 });
    assert_eq!(batch.quota_day, 0);
    // A certified batch counts to its day until it expires, and afterwards.
    let mut batch = certified();
    batch.quota_day = 7;
    batch.apply(Event::TimePassed { now: EXPIRES_AT + 1 });
    assert_eq!(batch.quota_day, 7, "what was certified is spent");

    let order = |batch: &mut Batch, until: u64| {
        batch.submission.submission.expires_at = until;
        batch.submission.submission.submit_before = until;
    };
    let mut batch = dispersing();
    order(&mut batch, 3 * DAY);
    assert_eq!(batch.quota_day, 0);
    batch.apply(Event::TimePassed { now: DAY });
    assert_eq!(batch.quota_day, 1);
    let saved = batch.clone();
    batch.apply(Event::TimePassed { now: 2 * DAY });
    assert!(batch.quota_day == 2 && !batch.may_wait(&saved), "the store is to know");
    batch.apply(Event::TimePassed { now: 3 * DAY + 1 });
    assert_eq!((batch.quota_day, batch.finished), (0, true), "nothing is spent on what failed");
}
