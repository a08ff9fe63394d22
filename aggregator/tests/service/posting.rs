//! Tests the way from the certificate to L1, with an L1 that fails, refuses or reorganises.

use std::time::Duration;

use dac_chain::contracts::CertificateLog;
use dac_chain::{Refusal, record_calldata};
use dac_proto::v1;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_types::{B256, Certificate};

use crate::support::{Running, World, by_submission};

async fn certificate(running: &Running, submission: B256) -> Certificate {
    let mut client = running.client.clone();
    let request = v1::GetCertificateRequest { batch: Some(by_submission(submission)) };
    client.get_certificate(request).await.unwrap().into_inner().certificate.unwrap().try_into().unwrap()
}

#[tokio::test]
async fn what_we_record_is_shown_with_its_price() {
    let world = World::small().await;
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running.until_state(submission, v1::BatchState::Posted).await;
    let l1 = batch.l1.unwrap();
    assert!(l1.by_us && l1.gas_used > 0 && l1.block > 0 && l1.transaction.len() == 32, "{l1:?}");
    assert_eq!(batch.l1_problem, "");
    assert_eq!((world.l1.recorded(), world.l1.included()), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn l1_that_is_down_is_waited_for_and_reported() {
    let world = World::small().await;
    world.l1.set_down(true);
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running.until(submission, |batch| !batch.l1_problem.is_empty()).await;
    assert_eq!(batch.state(), v1::BatchState::Certified);
    assert!(batch.l1_problem.contains("switched off"), "{}", batch.l1_problem);
    world.l1.set_down(false);
    let batch = running.until_state(submission, v1::BatchState::Posted).await;
    assert_eq!(batch.l1_problem, "");
    assert_eq!(world.l1.included(), 1);
    running.stop().await;
}

#[tokio::test]
async fn what_somebody_else_recorded_first_is_done() {
    let world = World::small().await;
    world.l1.set_down(true);
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    running.until_state(submission, v1::BatchState::Certified).await;
    let call = record_calldata(&certificate(&running, submission).await).unwrap();
    world.l1.record_for_somebody(&call);
    world.l1.set_down(false);
    let batch = running.until_state(submission, v1::BatchState::Posted).await;
    assert!(!batch.l1.unwrap().by_us);
    assert_eq!(world.l1.included(), 0, "no gas was spent");
    running.stop().await;
}

#[tokio::test]
async fn a_refusal_that_passes_is_shown_and_outlived() {
    let world = World::small().await;
    world.l1.set_refusal(Some(Refusal::of(&CertificateLog::RecordingPaused {})));
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running.until(submission, |batch| !batch.l1_problem.is_empty()).await;
    assert_eq!(batch.state(), v1::BatchState::Certified);
    assert!(batch.l1_problem.contains("L1 refuses it"), "{}", batch.l1_problem);
    world.l1.set_refusal(None);
    running.until_state(submission, v1::BatchState::Posted).await;
    running.stop().await;
}

#[tokio::test]
async fn an_account_that_cannot_pay_is_told_once_everywhere() {
    let world = World::small().await;
    world.l1.set_balance(Some(1));
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running.until(submission, |batch| !batch.l1_problem.is_empty()).await;
    let told = batch.l1_problem.clone();
    assert!(told.contains("owns 0.000000000000000001 ether, the next transaction may cost"), "{told}");
    assert_eq!(running.aggregator.batches().context().posting.unpaid().as_ref(), Some(&told));
    let url = format!("http://{}", running.aggregator.addresses().grpc);
    let mut client = AggregatorServiceClient::connect(url).await.unwrap();
    let said = client.get_aggregator(v1::GetAggregatorRequest {}).await.unwrap().into_inner();
    let payer = said.payer.unwrap();
    assert_eq!((payer.problem.as_str(), payer.balance_gwei, payer.low), (told.as_str(), Some(0), true));
    assert!(payer.next_gwei > 0, "{payer:?}");

    // The problem stays the same while it lasts, however often L1 is read.
    let another = tokio::time::timeout(
        Duration::from_secs(2),
        running.until(submission, |batch| batch.l1_problem != told),
    );
    assert!(another.await.is_err());
    assert_eq!(world.l1.included(), 0);
    world.l1.set_balance(None);
    let batch = running.until_state(submission, v1::BatchState::Posted).await;
    assert_eq!(batch.l1_problem, "");
    assert_eq!(running.aggregator.batches().context().posting.unpaid(), None);
    running.stop().await;
}
