//! Reads the certificate log of a real chain.

use dac_chain::contracts::{CertificateLog, CommitteeRegistry, Effect};
use dac_chain::testing::{Anvil, CommitteeSpec, TestCommittee, deploy_committee};
use dac_chain::{CertificateLogReader, ChainError, ErrorClass, Refusal};
use dac_types::{Seat, SignatureBytes};

async fn set_up() -> (Anvil, TestCommittee, CertificateLogReader, u64) {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(4, 2, 3)).await;
    let log = CertificateLogReader::new(anvil.endpoints(), committee.deployment.log);
    let expires_at = anvil.head().await.timestamp + 100_000;
    (anvil, committee, log, expires_at)
}

#[tokio::test]
async fn what_was_recorded_is_found_again() {
    let (anvil, committee, log, expires_at) = set_up().await;
    log.check_registry(committee.deployment.registry).await.unwrap();
    let wrong = log.check_registry(committee.deployment.log).await.unwrap_err();
    assert!(matches!(wrong, ChainError::WrongRegistry { .. }) && wrong.class() == ErrorClass::Fatal);

    let sender = anvil.account(anvil.key(1));
    let mut expected = Vec::new();
    for number in 1..=3 {
        let absent: &[Seat] = if number == 2 { &[Seat(1)] } else { &[] };
        let certificate = committee.certify(committee.header(number, expires_at), absent);
        let digest = certificate.header.digest(&committee.domain);
        assert_eq!(log.recorded_at(digest).await.unwrap(), None);
        assert_eq!(log.check(&certificate).await.unwrap(), digest);
        assert_eq!(log.recorded_at(digest).await.unwrap(), None, "checking records nothing");

        let receipt = sender.record(log.address(), &certificate).await.unwrap();

        assert_eq!(log.recorded_at(digest).await.unwrap(), Some(anvil.head().await.timestamp));
        let again = sender.record(log.address(), &certificate).await.unwrap_err();
        let ChainError::Reverted(again) = again else { panic!("{again}") };
        assert!(again.is::<CertificateLog::AlreadyRecorded>(), "{again}");
        expected.push((digest, receipt));
        // More blocks than one page, so that several pages are read.
        anvil.mine(600).await;
    }

    let head = log.head().await.unwrap().number;
    let events = log.recorded_events(0, head).await.unwrap();
    assert_eq!(events.len(), 3);
    for (event, (digest, receipt)) in events.iter().zip(&expected) {
        assert_eq!((event.digest, event.block, event.tx), (*digest, receipt.block, receipt.tx_hash));
        assert_eq!((event.epoch, event.expires_at), (1, expires_at));
        assert_eq!(log.find(*digest, head).await.unwrap().as_ref(), Some(event));
    }
    assert_eq!(events[1].batch_number, 2);
    let only = log.recorded_events(expected[1].1.block, expected[1].1.block).await.unwrap();
    assert_eq!(only, events[1..2]);
    let page = log.recorded_page(0, head).await.unwrap();
    assert!(page.next_block <= head && page.certificates.len() < 3);
    assert!(matches!(log.recorded_page(5, 4).await, Err(ChainError::BlockRange { from: 5, to: 4 })));
}

#[tokio::test]
async fn a_bad_certificate_is_refused_by_name() {
    let (anvil, committee, log, expires_at) = set_up().await;
    let good = committee.certify(committee.header(1, expires_at), &[]);

    let few = committee.certify(committee.header(1, expires_at), &[Seat(0), Seat(1)]);
    let mut other = good.clone();
    other.header.batch_number = 2;
    let expired = committee.certify(committee.header(1, anvil.head().await.timestamp), &[]);
    let mut header = committee.header(1, expires_at);
    header.epoch = 9;
    let future = committee.certify(header, &[]);
    let mut header = committee.header(1, expires_at);
    header.payload_length = 0;
    let empty = committee.certify(header, &[]);

    type Expected = fn(&Refusal) -> bool;
    let cases: [(_, Expected, bool); 5] = [
        (few, Refusal::is::<CertificateLog::TooFewSigners>, true),
        (other, Refusal::is::<CertificateLog::SignatureMismatch>, true),
        (expired, Refusal::is::<CertificateLog::Expired>, true),
        (
            future,
            |refusal| *refusal == Refusal::of(&CommitteeRegistry::UnknownEpoch { epoch: 9, epochCount: 1 }),
            false,
        ),
        (empty, Refusal::is::<CertificateLog::PayloadLength>, true),
    ];
    for (certificate, expected, is_final) in cases {
        match log.check(&certificate).await {
            Err(ChainError::Reverted(refusal)) => {
                assert!(expected(&refusal), "{refusal:?}");
                assert_eq!(refusal.effect() == Effect::Final, is_final);
            }
            other => panic!("{other:?}"),
        }
    }

    let mut garbage = good;
    garbage.aggregate.signature = SignatureBytes([0x12; 48]);
    let error = log.check(&garbage).await.unwrap_err();
    assert!(matches!(error, ChainError::CertificateSignature(_)) && error.class() == ErrorClass::Sender);
}
