//! Tests what every store of a member must do, on any backend. A new store runs this suite with one
//! line; see [`store_suite!`](crate::store_suite).

#![allow(missing_docs, reason = "the name of a test says what it tests")]
#![cfg_attr(not(test), allow(dead_code, reason = "a part of the fixture is for the tests of this crate"))]

mod candidate;
mod fixture;
mod keeping;
mod owing;
mod unreliable;

pub use candidate::{Candidate, Census, Damage};
pub use fixture::domain;
pub(crate) use fixture::{DAY, LARGE, SEAT, Suite, stored, submission, wait_until_swept};
pub use keeping::*;
pub use owing::*;
pub use unreliable::*;

/// Runs the suite on a [`Candidate`], with one test for each case.
#[macro_export]
macro_rules! store_suite {
    ($candidate:ty) => {
        $crate::store_suite! { $candidate:
            shards_of_all_sizes_come_back,
            storing_twice_is_storing_once,
            uploads_of_one_batch_race_and_all_get_the_receipt,
            a_dropped_upload_leaves_nothing,
            a_killed_process_leaves_nothing_that_the_next_one_keeps,
            rows_that_do_not_make_up_the_shard_are_refused,
            one_header_for_a_submission_in_an_epoch,
            a_certified_header_takes_its_submission,
            rivals_race_and_one_wins,
            uploads_race_and_do_not_overspend,
            a_certificate_is_added_once,
            listings_follow_the_order_of_storing,
            what_has_expired_goes_and_the_rest_stays,
            damaged_bytes_are_read_as_they_are,
            cursors_come_back_as_they_were_left,
            what_is_owed_is_wanted_until_it_is_held,
            the_shortest_kept_is_wanted_first,
            what_a_reorganisation_takes_back_is_owed_no_more_and_stays_stored,
            a_contract_speaks_for_its_own_rollup_only,
            what_is_corrupt_is_wanted_and_replaced,
            bad_seats_are_kept_with_their_records,
            renewals_are_covered_when_everything_is_held,
            nothing_is_covered_that_is_not_whole,
            the_log_is_right_where_a_contract_lied_before,
            what_is_doubted_is_wanted_and_not_missing,
            a_seat_promises_its_own_shards_only,
            renewals_seen_on_l1_keep_what_is_stored_before_and_after,
            the_place_of_re_verification_is_kept,
            receipts_are_true_over_an_unreliable_store,
        }
    };
    ($candidate:ty: $($name:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $crate::store::suite::$name::<$candidate>().await;
        })*
    };
}
