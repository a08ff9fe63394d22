//! Tests of what a live aggregator reports to its operator: in its log, on `/healthz`, and in its
//! status.

use std::collections::BTreeSet;

use dac_chain::U256;
use dac_chain::amount::GWEI;
use dac_proto::v1;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_tests::failure::Context;
use dac_tests::network::{Network, Plan, Service, Shape, real_payload};
use dac_tests::{Result, monitoring, rpc, wait};
use dac_types::{Address, HashKind};
use serde_json::{Value, json};

/// The log's message about a transaction.
const SENT: &str = "transaction sent";
/// The log's messages about a batch that waits, and about one that makes progress again.
const WAITS: &str = "a batch waits";
const MOVES: &str = "a batch waits no more";
/// The number of attempts at a member after which a log line for each of them would be visible.
const ATTEMPTS: u32 = 4;

/// A system whose aggregator has a monitoring port and writes its log as JSON. There are no gates,
/// so that nothing listens at the address of a process that is not started.
fn plan() -> Plan {
    let mut aggregator = monitoring::settings();
    let log = toml::toml! { format = "json" };
    aggregator.insert("log".to_owned(), log.into());
    Plan { aggregator, is_bare: true, ..Plan::default() }
}

/// Returns the lines of a service's log with this message.
fn lines(service: &Service, message: &str) -> Result<Vec<Value>> {
    let log = service.log()?;
    let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    Ok(lines.filter(|line: &Value| line["message"] == message).collect())
}

/// Waits until the log has this many lines with this message: a line is written a little later than
/// the event.
async fn has_lines(service: &Service, message: &str, count: usize) -> Result<Vec<Value>> {
    let written = async || lines(service, message).ok().filter(|lines| lines.len() >= count);
    wait::until(&format!("{count} lines \"{message}\""), wait::LIMIT, written).await
}

fn text<'a>(line: &'a Value, field: &str) -> Result<&'a str> {
    line[field].as_str().context(format!("{field} of {line}"))
}

/// Returns the transactions of an account on the chain, in the order of its nonces.
async fn transactions_of(network: &Network, account: Address) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for number in 0..=network.anvil.head().await.number {
        let block = json!([format!("{number:#x}"), true]);
        let block = network.anvil.rpc("eth_getBlockByNumber", block).await;
        for transaction in block["transactions"].as_array().context("transactions")? {
            if text(transaction, "from")?.parse::<Address>()? == account {
                found.push(transaction.clone());
            }
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transaction_that_is_sent_is_a_line_of_the_log() -> Result<()> {
    let mut plan = plan();
    let posting = toml::toml! { bump_after_blocks = 2 };
    plan.aggregator.insert("posting".to_owned(), posting.into());
    let network = Network::start_as(Shape::SMALL, &plan).await?;
    let mut digests = BTreeSet::new();
    for number in 1..=3 {
        let batch = network.submit(number, HashKind::Opaque, &real_payload(1_000)).await?;
        digests.insert(network.certified(&batch).await?.to_string());
        network.posted(&batch).await?;
    }
    let lines = has_lines(&network.aggregator, SENT, 3).await?;
    let logged: Vec<(&str, u64)> = lines
        .iter()
        .map(|line| Ok((text(line, "tx")?, line["nonce"].as_u64().context("a nonce")?)))
        .collect::<Result<_>>()?;
    let on_chain = transactions_of(&network, network.rollup.disperser).await?;
    let on_chain: Vec<(&str, u64)> = on_chain
        .iter()
        .map(|sent| {
            let nonce = text(sent, "nonce")?.trim_start_matches("0x");
            Ok((text(sent, "hash")?, u64::from_str_radix(nonce, 16)?))
        })
        .collect::<Result<_>>()?;
    assert_eq!(logged, on_chain);
    for line in &lines {
        assert_eq!((&line["level"], &line["kind"]), (&"INFO".into(), &"record".into()), "{line}");
        assert_eq!((&line["attempt"], &line["replaces"]), (&1.into(), &0.into()), "{line}");
    }
    let named =
        lines.iter().map(|line| Ok(text(line, "digest")?.to_owned())).collect::<Result<BTreeSet<_>>>()?;
    assert_eq!(named, digests);

    // The price of gas rises too much for the pending transaction: its replacement is another
    // transaction, with another line.
    network.anvil.set_automine(false).await;
    let batch = network.submit(4, HashKind::Opaque, &real_payload(1_000)).await?;
    network.certified(&batch).await?;
    has_lines(&network.aggregator, SENT, 4).await?;
    network.anvil.set_next_base_fee(50_000_000_000).await;
    network.anvil.mine(3).await;
    let lines = has_lines(&network.aggregator, SENT, 5).await?;
    assert_eq!(lines[3]["nonce"], lines[4]["nonce"], "{lines:?}");
    assert_eq!((&lines[3]["replaces"], &lines[4]["replaces"]), (&0.into(), &1.into()), "{lines:?}");
    network.anvil.mine(1).await;
    network.posted(&batch).await?;
    let on_chain = transactions_of(&network, network.rollup.disperser).await?;
    assert_eq!(on_chain.len(), 4, "{on_chain:?}");
    assert_eq!(on_chain[3]["hash"], lines[4]["tx"], "{lines:?}");
    Ok(())
}

/// Waits until the batch says that it waits for this reason, and `members` members were asked
/// [`ATTEMPTS`] times.
async fn waits_for(network: &Network, batch: &v1::Batch, reason: &str, members: usize) -> Result<v1::Batch> {
    let digest = dac_proto::wire::hash("submission_digest", &batch.submission_digest)?;
    let followed = rpc::watch(network.api()?, rpc::by_submission(digest), |batch| {
        let tried = batch.members.iter().filter(|member| member.attempts >= ATTEMPTS).count();
        tried >= members && batch.waiting.as_ref().is_some_and(|waiting| waiting.reason == reason)
    });
    let followed = tokio::time::timeout(wait::LIMIT, followed).await;
    Ok(followed.context(format!("a batch to wait for {reason}"))??)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_waits_for_is_one_line_of_the_log_and_not_one_a_retry() -> Result<()> {
    let mut network = Network::prepare_as(Shape::SMALL, &plan()).await?;
    for member in &mut network.members[2..] {
        member.service.start().await?;
    }
    network.aggregator.start().await?;

    // Two members are down.
    let payload = real_payload(30_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let waiting = waits_for(&network, &batch, "UNREACHABLE", 2).await?.waiting.context("a reason")?;
    let lines = has_lines(&network.aggregator, WAITS, 1).await?;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (line, order) = (&lines[0], batch.submission.as_ref().context("an order")?);
    assert_eq!((&line["level"], &line["reason"]), (&"WARN".into(), &"UNREACHABLE".into()), "{line}");
    let rollup = network.rollup.address.to_string();
    assert_eq!((&line["number"], &line["rollup"]), (&order.batch_number.into(), &rollup.into()), "{line}");
    let said = "2 of 4 members say: unreachable: nothing listens at this address and port (";
    for detail in [text(line, "detail")?, &waiting.detail] {
        assert!(detail.starts_with(said) && detail.ends_with(" of 3 signatures are there"), "{detail}");
    }
    for member in &mut network.members[..2] {
        member.service.start().await?;
    }
    network.posted(&batch).await?;
    // A member that has just started may say that it has not read L1 yet, which is another reason.
    let moved = has_lines(&network.aggregator, MOVES, 1).await?;
    assert_eq!(moved.len(), 1, "{moved:?}");
    let before = self::lines(&network.aggregator, WAITS)?;
    let unreachable = before.iter().filter(|line| line["reason"] == "UNREACHABLE").count();
    assert_eq!(unreachable, 1, "{before:?}");
    Ok(())
}

async fn payer(network: &Network) -> Result<v1::Payer> {
    let mut client = AggregatorServiceClient::new(network.api()?);
    let answer = client.get_aggregator(v1::GetAggregatorRequest {}).await?.into_inner();
    answer.payer.context("an account that pays")
}

async fn set_balance(network: &Network, milliether: u64) {
    let wei = U256::from(milliether) * U256::from(GWEI) * U256::from(1_000_000);
    network.anvil.rpc("anvil_setBalance", json!([network.rollup.disperser, wei])).await;
}

/// Waits until a page has this status, and returns its text.
async fn page(network: &Network, path: &str, status: u16) -> Result<String> {
    let address = monitoring::address(&network.aggregator)?;
    let shown = async || {
        let (told, text) = monitoring::get(address, path).await.ok()?;
        (told == status).then_some(text)
    };
    wait::until(&format!("{path} to answer {status}"), wait::LIMIT, shown).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_pay_is_told_by_healthz_and_in_status() -> Result<()> {
    let network = Network::start_as(Shape::SMALL, &plan()).await?;
    assert_eq!(page(&network, "/healthz", 200).await?, "ok\n");
    let account = network.rollup.disperser;
    set_balance(&network, 0).await;
    let told = page(&network, "/healthz", 503).await?;
    let told = told.strip_suffix('\n').context("one line")?;
    let start = format!("the L1 account {account} owns 0 ether, the next transaction may cost 0.");
    assert!(told.starts_with(&start) && told.ends_with(" ether: send more to it"), "{told}");
    // The operator is warned, and all requests are served.
    assert_eq!(page(&network, "/readyz", 200).await?, "ok\n");
    let status = payer(&network).await?;
    assert_eq!((status.balance_gwei, status.low, status.problem.as_str()), (Some(0), true, told));
    assert_eq!(status.account, account.as_slice());
    let batch = network.submit(1, HashKind::Opaque, &real_payload(1_000)).await?;
    network.certified(&batch).await?;
    let digest = dac_proto::wire::hash("submission_digest", &batch.submission_digest)?;
    let waits = rpc::watch(network.api()?, rpc::by_submission(digest), |batch| !batch.l1_problem.is_empty());
    let waits = tokio::time::timeout(wait::LIMIT, waits).await.context("why it is not posted")??;
    assert_eq!(waits.state(), v1::BatchState::Certified);
    let end = " ether: send more to it";
    assert!(waits.l1_problem.starts_with(&start) && waits.l1_problem.ends_with(end), "{}", waits.l1_problem);

    // The balance is enough for the next transactions, and below the threshold of 0.05 ether.
    set_balance(&network, 40).await;
    network.posted(&batch).await?;
    assert_eq!(page(&network, "/healthz", 200).await?, "ok\n");
    let status = payer(&network).await?;
    assert!(status.low && status.problem.is_empty() && status.balance_gwei < Some(40_000_000), "{status:?}");
    let warned = lines(&network.aggregator, "the L1 account has little ether left")?;
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!(text(&warned[0], "account")?.parse::<Address>()?, account, "{warned:?}");
    assert_eq!(warned[0]["floor"], "0.05", "{warned:?}");

    network.anvil.fund(account).await;
    let enough = async || payer(&network).await.ok().filter(|payer| !payer.low);
    wait::until("the account to have enough", wait::LIMIT, enough).await?;
    Ok(())
}
