//! Tests of two processes on one PostgreSQL database: if one ends at any point, the other goes on,
//! and nothing is posted twice.

use std::sync::Arc;

use dac_database::testing::TestDatabase;
use dac_proto::v1;
use dac_types::B256;
use tonic::Code;

use crate::support::proof::good_proof;
use crate::support::{Behaviour, PATIENCE, Running, World, by_submission};

async fn shared_world() -> World {
    let mut world = World::small().await;
    world.database = TestDatabase::postgres().await;
    world
}

/// An aggregator in its own runtime, so that it can be ended as abruptly as a process.
struct Mortal {
    runtime: tokio::runtime::Runtime,
    running: Running,
}

impl Mortal {
    async fn start(world: &Arc<World>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = Arc::clone(world);
        let running = runtime.spawn(async move { world.start().await }).await.unwrap();
        Self { runtime, running }
    }

    /// Ends it without finishing anything or giving back its leases.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// Collects the states that a watcher sees from now on, until the stream ends.
fn watch(running: &Running, submission: B256) -> tokio::task::JoinHandle<Vec<v1::BatchState>> {
    let mut client = running.client.clone();
    tokio::spawn(async move {
        let request = v1::WatchBatchRequest { batch: Some(by_submission(submission)) };
        let mut stream = client.watch_batch(request).await.unwrap().into_inner();
        let mut states = Vec::new();
        while let Some(response) = stream.message().await.unwrap() {
            let state = response.batch.unwrap().state();
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
        states
    })
}

async fn seen(watching: tokio::task::JoinHandle<Vec<v1::BatchState>>) -> Vec<v1::BatchState> {
    tokio::time::timeout(PATIENCE, watching).await.expect("it ends by itself").unwrap()
}

async fn leads(running: &Running) {
    let mut leading = running.aggregator.batches().context().posting.leading();
    tokio::time::timeout(PATIENCE, leading.wait_for(Option::is_some)).await.expect("it posts").unwrap();
}

#[tokio::test]
async fn one_that_is_killed_while_it_disperses_is_followed_by_the_other() {
    let _counted = dac_measure::counted!(SharedDatabase, 1);
    let world = Arc::new(shared_world().await);
    for seat in 0..2 {
        world.behave(seat, Behaviour::Fail(Code::Unavailable));
    }
    let first = Mortal::start(&world).await;
    let submission = first.running.submit_new(1, 50_000).await;
    let two_answered =
        |batch: &v1::Batch| batch.members.iter().filter(|member| member.attested_at_ms > 0).count() == 2;
    let before = first.running.until(submission, two_answered).await;
    let second = world.start().await;
    let watching = watch(&second, submission);
    second.until(submission, two_answered).await;
    assert!(!second.aggregator.batches().context().posting.is_leading());
    first.kill();
    for seat in 0..2 {
        world.behave(seat, Behaviour::Honest);
    }
    let after = second.until_state(submission, v1::BatchState::Posted).await;
    assert_eq!(before.digest, after.digest, "one submission, one header");
    let states = seen(watching).await;
    assert_eq!(states.first(), Some(&v1::BatchState::Dispersing), "{states:?}");
    assert!(states.is_sorted() && states.last() == Some(&v1::BatchState::Posted), "{states:?}");
    assert_eq!((world.l1.recorded(), world.l1.included()), (1, 1));
    second.stop().await;
}

#[tokio::test]
async fn one_that_is_killed_while_it_posts_is_followed_by_the_other_and_nothing_is_posted_twice() {
    let _counted = dac_measure::counted!(SharedDatabase, 1);
    let world = Arc::new(shared_world().await);
    world.l1.set_withhold(true);
    let first = Mortal::start(&world).await;
    let mut submissions = Vec::new();
    for number in 1..=3 {
        submissions.push(first.running.submit_new(number, 1000).await);
    }
    let second = world.start().await;
    let watching: Vec<_> = submissions.iter().map(|submission| watch(&second, *submission)).collect();
    for submission in &submissions {
        second.until_state(*submission, v1::BatchState::Certified).await;
    }
    // Waits until the postings have nonces and their transactions are sent.
    let books = second.store().books();
    tokio::time::timeout(PATIENCE, async {
        while books.load().await.unwrap().slots.len() < submissions.len() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("they are signed");
    first.kill();
    leads(&second).await;
    world.l1.set_withhold(false);
    for (submission, watching) in submissions.iter().zip(watching) {
        let batch = second.until_state(*submission, v1::BatchState::Posted).await;
        assert!(batch.l1.unwrap().by_us);
        let states = seen(watching).await;
        assert!(states.ends_with(&[v1::BatchState::Certified, v1::BatchState::Posted]), "{states:?}");
    }
    assert_eq!((world.l1.recorded(), world.l1.included()), (3, 3), "each recorded once, each paid once");
    second.stop().await;
}

#[tokio::test]
async fn every_process_takes_batches_and_proofs_whoever_posts() {
    let _counted = dac_measure::counted!(SharedDatabase, 1);
    let world = shared_world().await;
    let posting = world.start().await;
    leads(&posting).await;
    let other = world.start().await;
    let recorded = other.submit_new(1, 1000).await;
    let settling = other.submit_to_settle(2).await;
    // The proof goes to a process that does not post, and another account settles the batch before
    // it.
    let watching = watch(&other, settling);
    other.prove(settling, good_proof(1)).await.unwrap();
    let again = posting.prove(settling, good_proof(1)).await.unwrap();
    assert!(again.proof.is_some());
    for running in [&posting, &other] {
        running.until_state(recorded, v1::BatchState::Posted).await;
        running.until_state(settling, v1::BatchState::Proved).await;
    }
    let header = posting.header(recorded).await;
    world.l1.settle_for_somebody(&header);
    other.until_state(settling, v1::BatchState::Settled).await;
    let states = seen(watching).await;
    assert!(states.is_sorted() && states.last() == Some(&v1::BatchState::Settled), "{states:?}");
    // The proof for a finished batch goes to the process that did not work on it last.
    assert_eq!((world.l1.recorded(), world.l1.included()), (1, 2));
    // A process that stops in good order gives back its lease, so the other one need not wait.
    posting.stop().await;
    let last = other.submit_new(3, 1000).await;
    other.until_state(last, v1::BatchState::Posted).await;
    other.stop().await;
}

#[tokio::test]
async fn a_poster_that_lost_its_lease_while_it_slept_posts_nothing_more() {
    let _counted = dac_measure::counted!(SharedDatabase, 1);
    let world = shared_world().await;
    world.l1.set_down(true);
    let first = world.start().await;
    leads(&first).await;
    let second = world.start().await;
    let submission = first.submit_new(1, 1000).await;
    first.until_state(submission, v1::BatchState::Certified).await;
    let books = first.store().lead().await.unwrap();
    assert!(books.is_none(), "one has it");
    world.pass_the_lead_to(&second).await;
    world.l1.set_down(false);
    for running in [&first, &second] {
        running.until_state(submission, v1::BatchState::Posted).await;
    }
    assert_eq!((world.l1.recorded(), world.l1.included()), (1, 1));
    assert!(!first.aggregator.batches().context().posting.is_leading());
    first.stop().await;
    second.stop().await;
}
