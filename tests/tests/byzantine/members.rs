//! Tests of members that lie.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::{Endpoints, RegistryReader as _, RpcRegistryReader};
use dac_client::{
    Dialer, Directory, EndpointPolicy, Hint, Patience, RetrieveError, RetrieveOptions, Retriever,
};
use dac_proto::v1::{DeliveryState, MemberState};
use dac_tests::gate::Mode;
use dac_tests::liar::{Attests, FalseServer, FalseSigner, Serves};
use dac_tests::measure::{Measure, Promise};
use dac_tests::network::{Network, Shape};
use dac_tests::{Result, rpc, wait};
use dac_types::{BatchDigest, HashKind};

use crate::{
    DISPERSAL, Metrics, RETRIEVAL, VICTIM, counted, network_with_metrics, own_address, payload, reopen,
    unharmed,
};

/// The member that lies.
const LIAR: usize = 2;

/// Every lie about a signature, one after the other: the aggregator leaves the member out, names it
/// with the reason, and counts it by operator. With q = 3 of 4 the batch is certified without it.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_sign_falsely_are_named_and_left_out() -> Result<()> {
    let mut measure =
        Measure::begin(Promise::Byzantine, "byzantine::members_that_sign_falsely_are_named_and_left_out");
    let (network, metrics) = network_with_metrics(Shape::SMALL).await?;
    let member = &network.members[LIAR];
    let operator = network.committee.members[LIAR].operator.address().to_string();
    let cases = [
        (Attests::OtherDigest, DeliveryState::Lied, "BAD_SIGNATURE"),
        (Attests::OtherBatch, DeliveryState::Lied, "OTHER_DIGEST"),
        (Attests::OtherKey, DeliveryState::Lied, "BAD_SIGNATURE"),
        (Attests::Junk, DeliveryState::Lied, "BAD_SIGNATURE"),
        (Attests::OtherSeat, DeliveryState::Lied, "OTHER_SEAT"),
        (Attests::Nothing, DeliveryState::Lied, "MALFORMED_ATTESTATION"),
        // These may be faults of the network: the member is named and asked again.
        (Attests::Oversized, DeliveryState::Retrying, "TRANSPORT"),
        (Attests::Silent, DeliveryState::Retrying, "TIMED_OUT"),
    ];
    for (number, (vice, state, reason)) in (1..).zip(cases) {
        let key = network.committee.members[LIAR].secret_key.clone();
        let address = FalseSigner { key, vice }.serve().await?;
        member.service.gate(DISPERSAL).set(Mode::Open(address));
        let payload = payload(number);
        let batch = network.submit(number, HashKind::Opaque, &payload).await?;
        let digest = network.certified(&batch).await?;
        network.posted(&batch).await?;
        let named = async || {
            let batch = rpc::batch(network.api().ok()?, rpc::by_digest(digest)).await.ok()?;
            (batch.members[LIAR].state() == state).then_some(batch)
        };
        let told = wait::until(&format!("{vice:?} to be named"), wait::LIMIT, named).await?;
        assert_eq!(told.members[LIAR].reason, reason, "{vice:?}: {:?}", told.members[LIAR]);
        assert!(!told.members[LIAR].in_certificate, "{vice:?}");
        if state == DeliveryState::Lied {
            let labels = [("operator", operator.as_str()), ("reason", reason)];
            counted(metrics.aggregator, "dac_aggregator_lies_total", &labels).await?;
        }
        assert!(network.retrieve(digest).await? == payload, "{vice:?}");
        measure.tried(1);
    }
    reopen(&network, member, DISPERSAL)?;
    let digest = unharmed(&network, 100).await?;
    // The member is accepted again as soon as it is honest.
    member.waits_for(digest).await?;
    measure.passed();
    Ok(())
}

/// Returns a retriever with short deadlines.
async fn retriever(network: &Network) -> Result<Retriever> {
    let endpoints = Endpoints::discover(&[&network.l1.url()], Duration::from_secs(10)).await?;
    let view = RpcRegistryReader::new(endpoints, network.committee.deployment.registry).read(0).await?;
    let options = RetrieveOptions {
        patience: Patience { answer: Duration::from_secs(3), bytes_per_second_min: 16 << 10 },
        hedge_after: Duration::from_millis(200),
        attempts_max: 1,
        ..RetrieveOptions::default()
    };
    let directory = Arc::new(Directory::from_view(&view)?);
    Ok(Retriever::new(directory, Dialer::new(EndpointPolicy::AllowPrivate), options))
}

/// Returns the liar's reported faults in a retrieval that needs it, because all other members but
/// one are down.
async fn accused(network: &Network, digest: BatchDigest) -> Result<BTreeSet<String>> {
    let retriever = retriever(network).await?;
    // Every member is asked for the record, because there is no evidence but the certificate.
    let outcome = retriever.retrieve(digest, &Hint::default(), |_| {}).await;
    let operator = network.committee.members[LIAR].operator.address();
    let codes = |faults: Vec<(dac_types::Address, &dac_client::MemberFault)>| {
        faults
            .into_iter()
            .filter(|(who, _)| *who == operator)
            .map(|(_, fault)| fault.code().to_owned())
            .collect()
    };
    match &outcome {
        Ok(retrieved) => Ok(codes(retrieved.report.faults().collect())),
        Err(error @ (RetrieveError::NoRecord { .. } | RetrieveError::NotEnoughShards { .. })) => {
            Ok(codes(error.faults()))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Members tell every lie about a shard or a record. A client retrieves the batch from the others,
/// or, if it needs the liar, names it and its fault. An audit finds the lie, too.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_serve_falsely_are_named_and_done_without() -> Result<()> {
    let mut measure = Measure::begin(
        Promise::Byzantine,
        "byzantine::members_that_serve_falsely_are_named_and_done_without",
    );
    let (mut network, metrics) = network_with_metrics(Shape::SMALL).await?;
    let digest = unharmed(&network, 1).await?;
    let expected = payload(1);
    let member = &network.members[LIAR];
    let honest = own_address(&network, member, RETRIEVAL)?;
    let cases = [
        (Serves::WrongByte, &["BAD_SHARD"][..]),
        (Serves::Truncated, &["BAD_SHARD"]),
        (Serves::Endless, &["BAD_SHARD"]),
        (Serves::Trickle, &["TIMED_OUT"]),
        (Serves::OversizedPiece, &["BAD_PIECE"]),
        (Serves::OversizedMessage, &["STATUS"]),
        (Serves::EmptyPieces, &["BAD_PIECE"]),
        (Serves::WrongRecord, &["BAD_RECORD"]),
        (Serves::OtherRecord, &["OTHER_BATCH"]),
        (Serves::Denies, &["UNKNOWN_BATCH"]),
    ];
    for (vice, codes) in cases {
        let address = FalseServer::serve(rpc::channel(&format!("http://{honest}"))?, vice).await?;
        member.service.gate(RETRIEVAL).set(Mode::Open(address));
        // While all members are there, the lie does no harm.
        assert!(network.retrieve(digest).await? == expected, "{vice:?}");
        // With k − 1 others the liar's shard is needed, and without others its record: then it is
        // named.
        let away: &[usize] =
            if matches!(vice, Serves::WrongRecord | Serves::OtherRecord) { &[0, 1, 3] } else { &[0, 1] };
        for seat in away {
            network.members[*seat].service.gate(RETRIEVAL).set(Mode::Shut);
        }
        let told = accused(&network, digest).await?;
        for code in codes {
            assert!(told.contains(*code), "{vice:?}: {told:?}");
        }
        for seat in away {
            reopen(&network, &network.members[*seat], RETRIEVAL)?;
        }
        measure.tried(1);
    }
    // An audit asks every member for everything.
    let address = FalseServer::serve(rpc::channel(&format!("http://{honest}"))?, Serves::WrongByte).await?;
    member.service.gate(RETRIEVAL).set(Mode::Open(address));
    let deployment = &network.committee.deployment;
    let dac = dac_tests::command::CommandLine::new("dac", network.folder())?
        .with("DAC_RPC_URL", network.l1.url())
        .with("DAC_REGISTRY", deployment.registry.to_string())
        .with("DAC_CERTIFICATE_LOG", deployment.log.to_string());
    let (code, audit) = dac.document(["audit", "--batch", &digest.to_string(), "--whole-shards"]).await?;
    assert_eq!(code, Some(1), "{audit}");
    let failed: BTreeSet<u64> = audit["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["result"] == "failed")
        .filter_map(|row| row["seat"].as_u64())
        .collect();
    assert_eq!(failed, [LIAR as u64].into(), "{audit}");
    repairs_in_spite_of_a_liar(&mut network, &metrics, digest).await?;
    measure.tried(1);
    unharmed(&network, 2).await?;
    measure.passed();
    Ok(())
}

/// A member that lost its disk asks the liar, too: it names the operator that served false data, in
/// its API and in its metrics, and has its shard once honest members are back.
async fn repairs_in_spite_of_a_liar(
    network: &mut Network,
    metrics: &Metrics,
    digest: BatchDigest,
) -> Result<()> {
    let shard = rpc::shard(network.members[VICTIM].retrieval()?, digest).await?;
    network.members[0].service.gate(RETRIEVAL).set(Mode::Shut);
    let victim = &mut network.members[VICTIM].service;
    victim.kill();
    victim.lose_database()?;
    victim.start().await?;
    let liar = network.committee.members[LIAR].operator.address();
    let victim = &network.members[VICTIM];
    let named = async || {
        let told = rpc::member(victim.retrieval().ok()?).await.ok()?;
        told.faults
            .iter()
            .any(|fault| fault.operator == liar.as_slice() && fault.kind == "BAD_SHARD")
            .then_some(told)
    };
    let told = wait::until("the liar to be named by who repairs", wait::LIMIT, named).await?;
    assert_eq!(told.state(), MemberState::Repairing);
    let labels = [("operator", liar.to_string()), ("kind", "BAD_SHARD".to_owned())];
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
    counted(metrics.victim, "dac_node_peer_faults_total", &labels).await?;
    reopen(network, &network.members[0], RETRIEVAL)?;
    let ready = async || {
        let told = rpc::member(victim.retrieval().ok()?).await.ok()?;
        (told.state() == MemberState::Ready).then_some(())
    };
    wait::until("the shard to be repaired", wait::LIMIT, ready).await?;
    assert!(rpc::shard(victim.retrieval()?, digest).await? == shard);
    reopen(network, &network.members[LIAR], RETRIEVAL)
}
