//! Tests of L1 endpoints that lie: if one of three lies, it has no effect and is named.

use std::net::SocketAddr;

use dac_proto::v1;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_tests::l1_proxy::L1Proxy;
use dac_tests::network::{Network, Shape, real_payload};
use dac_tests::{Context, Result, configuration, monitoring, rpc, wait};
use dac_types::HashKind;
use serde_json::{Value, json};

/// Returns the first four bytes of a call of this function.
fn selector(signature: &str) -> String {
    alloy::primitives::hex::encode_prefixed(&alloy::primitives::keccak256(signature)[..4])
}

/// Returns a false answer of an endpoint. It would make members refuse every batch and owe nothing,
/// and the aggregator pay nothing, or pay for the same batch many times.
fn lie(method: &str, params: &Value, honest: &Value) -> Option<Value> {
    let word = |number: u8| Some(json!(format!("0x{number:064x}")));
    let calls = |signature: &str| {
        params[0]["input"].as_str().is_some_and(|input| input.starts_with(&selector(signature)))
    };
    match method {
        "eth_getLogs" => Some(json!([])),
        "eth_getTransactionReceipt" => Some(Value::Null),
        "eth_call" if calls("paused()") => word(1),
        "eth_call" if calls("rollupCount()") => word(0),
        // Simulations that a contract refuses are said to succeed.
        "eth_call" if honest.is_null() => word(1),
        "eth_estimateGas" => Some(json!("0xffffffffffff")),
        "eth_getBalance" => Some(json!("0x0")),
        "eth_maxPriorityFeePerGas" => Some(json!("0xffffffffffffffff")),
        _ => Some(honest.clone()).filter(|honest| !honest.is_null()),
    }
}

/// Returns whether the liar is named. It is the preferred endpoint, so it is asked whenever only
/// one endpoint is.
fn is_named(status: Option<v1::L1Endpoints>) -> bool {
    let status = status.unwrap_or_default();
    assert_eq!((status.configured, status.agree), (3, 2));
    let differs: Vec<&String> =
        status.problems.iter().filter(|problem| problem.contains("differs")).collect();
    assert!(differs.iter().all(|problem| problem.starts_with("endpoint 1 of chain.rpc")), "{status:?}");
    !differs.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_liar_of_three_changes_nothing_and_is_named() -> Result<()> {
    let mut network = Network::prepare(Shape::SMALL).await?;
    let url = network.anvil.url();
    let server = url.trim_start_matches("http://").parse::<SocketAddr>().context("anvil's address")?;
    let liar = L1Proxy::start(server, lie).await?;
    let urls = [liar.url(), network.l1.url(), url];
    let chain = toml::Table::from_iter([("rpc".to_owned(), urls.to_vec().into())]);
    let mut changes = monitoring::settings();
    changes.insert("chain".to_owned(), chain.into());
    for member in &mut network.members {
        configuration::change(member.service.config(), &changes)?;
        member.service.start().await?;
    }
    configuration::change(network.aggregator.config(), &changes)?;
    network.aggregator.start().await?;

    // The batch is certified although the liar says that the committee is paused and no rollup is
    // admitted, and recorded once although it says that nothing is.
    let payload = real_payload(40_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let digest = network.certified(&batch).await?;
    network.posted(&batch).await?;
    assert!(network.retrieve(digest).await? == payload);
    for member in &network.members {
        let channel = member.retrieval()?;
        let owes = async || {
            let told = rpc::member(channel.clone()).await.ok()?;
            let owed = told.duties.as_ref().is_some_and(|duties| duties.owed == 1);
            (owed && is_named(told.l1_endpoints)).then_some(())
        };
        wait::until(&format!("seat {} to owe the batch", member.seat), wait::LIMIT, owes).await?;
    }
    let mut aggregator = AggregatorServiceClient::new(network.api()?);
    let told = aggregator.get_aggregator(v1::GetAggregatorRequest {}).await.context("GetAggregator")?;
    assert!(is_named(told.into_inner().l1_endpoints));
    assert!(liar.lies() > 0);
    assert_eq!(network.recordings(digest).await, 1);

    // The metrics and the status name the liar, and the services keep working.
    for (service, counter) in [
        (&network.members[0].service, "dac_node_l1_disagreements_total"),
        (&network.aggregator, "dac_aggregator_l1_disagreements_total"),
    ] {
        let address = monitoring::address(service)?;
        let told = async || {
            let (status, text) = monitoring::get(address, "/healthz").await.ok()?;
            (status == 503 && text.starts_with("endpoint 1 of chain.rpc: ")).then_some(())
        };
        wait::until(&format!("{} to name the endpoint", service.name()), wait::LIMIT, told).await?;
        assert_eq!(monitoring::get(address, "/readyz").await?, (200, "ok\n".to_owned()));
        let page = monitoring::metrics(address).await?;
        assert!(monitoring::value(&page, counter) > Some(0.0), "{page}");
    }
    let page = monitoring::metrics(monitoring::address(&network.aggregator)?).await?;
    assert_eq!(monitoring::value(&page, "dac_aggregator_transactions_total"), Some(1.0), "{page}");
    Ok(())
}
