//! Metrics of the L1 account that pays.

use dac_chain::{U256, amount};
use dac_poster::Payer;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use tokio::sync::watch;

const BALANCE: &str = "dac_aggregator_payer_balance_ether";
const NEEDED: &str = "dac_aggregator_payer_next_transaction_ether";
const SPENT: &str = "dac_aggregator_payer_hour_ether";
const HELD_UP: &str = "dac_aggregator_posting_held_up";
const STOPPED: &str = "dac_aggregator_postings_stopped";
const SENT: &str = "dac_aggregator_transactions_total";

/// Describes the metrics and sets their first values.
pub(crate) fn describe_metrics() {
    describe_gauge!(BALANCE, "What the L1 account owns, in ether; not a number before L1 has said so");
    describe_gauge!(NEEDED, "What the next transaction may cost, in ether");
    describe_gauge!(SPENT, "What the transactions of the last hour may cost, in ether");
    describe_gauge!(HELD_UP, "1 while something keeps all postings from being sent, 0 otherwise");
    describe_gauge!(STOPPED, "Postings on which no more ether is spent, since what was spent had no effect");
    describe_counter!(SENT, "Transactions handed to L1, replacements included");
    gauge!(BALANCE).set(f64::NAN);
    for name in [NEEDED, SPENT, HELD_UP, STOPPED] {
        gauge!(name).set(0.0);
    }
    counter!(SENT).increment(0);
}

/// Sets the metrics whenever the account's state changes, until the poster stops.
pub(super) async fn measure(mut payer: watch::Receiver<Payer>) {
    let mut sent = 0;
    loop {
        let now = payer.borrow_and_update().clone();
        gauge!(BALANCE).set(now.balance.map_or(f64::NAN, ether));
        gauge!(NEEDED).set(ether(now.needed));
        gauge!(SPENT).set(ether(U256::from(now.spent)));
        gauge!(HELD_UP).set(if now.trouble.is_some() { 1.0 } else { 0.0 });
        gauge!(STOPPED).set(u32::try_from(now.stopped).unwrap_or(u32::MAX));
        counter!(SENT).increment(now.sent.saturating_sub(sent));
        sent = now.sent;
        if payer.changed().await.is_err() {
            // Another process may post from now on, so this one no longer knows the balance.
            gauge!(BALANCE).set(f64::NAN);
            gauge!(HELD_UP).set(0.0);
            return;
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a gauge")]
fn ether(wei: U256) -> f64 {
    let gwei = wei / U256::from(amount::GWEI);
    u128::try_from(gwei).unwrap_or(u128::MAX) as f64 / amount::GWEI as f64
}
