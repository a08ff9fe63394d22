//! The `[posting]` table: when a transaction on L1 is final, how often it is retried, and what it
//! may cost.

use dac_chain::amount::GWEI;
use dac_poster::PosterConfig;
use dac_runtime::config::Period;
use serde::Deserialize;

/// The number of wei in an ether.
const ETHER: u128 = GWEI * GWEI;
/// The largest `ether_per_hour` that can be configured; a larger value is surely a typing error.
const ETHER_MAX: f64 = 1e6;
/// The largest `fee_cap_gwei` that can be configured, for the same reason.
const FEE_CAP_GWEI_MAX: u64 = 1_000_000;
/// The largest number of nonces for one posting that can be configured.
const ATTEMPTS_MAX: u32 = 1_000;

/// The `[posting]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostingConfig {
    /// The number of blocks, counting the one that includes the transaction, after which a
    /// transaction is final.
    pub confirmations: u64,
    /// The number of transactions under way at once.
    pub window: usize,
    /// The number of postings that wait or are under way.
    pub queue: usize,
    /// The number of blocks after which a transaction that is not included yet is replaced by one
    /// with a higher fee.
    pub bump_after_blocks: u64,
    /// The highest fee that any transaction offers, in gwei per gas.
    pub fee_cap_gwei: u64,
    /// The highest tip that a transaction offers, in gwei per gas, even if an endpoint suggests
    /// more. A replacement may offer twice as much.
    pub tip_cap_gwei: f64,
    /// The lowest tip that a transaction offers, in gwei per gas. Transaction pools refuse tips
    /// below their own minimum.
    pub tip_floor_gwei: f64,
    /// The highest gas limit of any transaction.
    pub gas_limit_max: u64,
    /// The number of ether that the transactions signed in an hour may cost; posting pauses when it
    /// is spent. If it is left out, it suffices for one posting in each block of 12 s at the fee
    /// cap: 15 ether at 200 gwei.
    pub ether_per_hour: Option<f64>,
    /// The account's balance in ether below which the program warns.
    pub balance_floor_ether: f64,
    /// The highest number of nonces that one posting is given, even if L1 does not show what became
    /// of them.
    pub attempts: u32,
    /// How many of these nonces may be used up by transactions that no endpoint shows.
    pub lost: u32,
    /// The time after which a certificate that is not recorded is reported as late.
    pub deadline: Period,
    /// The pause after L1 refused a posting.
    pub retry: Period,
}

impl Default for PostingConfig {
    fn default() -> Self {
        Self {
            confirmations: 2,
            window: 8,
            queue: 10_000,
            bump_after_blocks: 5,
            fee_cap_gwei: 200,
            tip_cap_gwei: 5.0,
            tip_floor_gwei: 0.01,
            gas_limit_max: 3_000_000,
            ether_per_hour: None,
            balance_floor_ether: 0.05,
            attempts: 10,
            lost: 3,
            deadline: Period::from_secs(120),
            retry: Period::from_secs(30),
        }
    }
}

impl PostingConfig {
    /// Returns `base` with the values of this table.
    pub(super) fn apply_to(&self, base: PosterConfig) -> PosterConfig {
        PosterConfig {
            confirmations: self.confirmations,
            window: self.window,
            queue_max: self.queue,
            bump_after_blocks: self.bump_after_blocks,
            fee_cap: self.fee_cap(),
            tip_cap: wei(self.tip_cap_gwei, GWEI),
            tip_floor: wei(self.tip_floor_gwei, GWEI),
            gas_limit_max: self.gas_limit_max,
            hourly_max: self.hourly_max(),
            balance_floor: wei(self.balance_floor_ether, ETHER),
            attempts_max: self.attempts,
            lost_max: self.lost,
            ..base
        }
    }

    fn fee_cap(&self) -> u128 {
        u128::from(self.fee_cap_gwei) * GWEI
    }

    fn hourly_max(&self) -> u128 {
        let usual = || PosterConfig::usual_hourly_max(self.fee_cap());
        self.ether_per_hour.map_or_else(usual, |ether| wei(ether, ETHER))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for (name, zero) in [
            ("confirmations", self.confirmations == 0),
            ("window", self.window == 0),
            ("queue", self.queue == 0),
            ("bump_after_blocks", self.bump_after_blocks == 0),
            ("fee_cap_gwei", self.fee_cap_gwei == 0),
            ("gas_limit_max", self.gas_limit_max == 0),
            ("attempts", self.attempts == 0),
            ("lost", self.lost == 0),
            ("retry", self.retry.is_zero()),
        ] {
            if zero {
                return Err(format!("posting.{name}: must be above zero"));
            }
        }
        if self.fee_cap_gwei > FEE_CAP_GWEI_MAX {
            return Err(format!("posting.fee_cap_gwei = {}: at most {FEE_CAP_GWEI_MAX}", self.fee_cap_gwei));
        }
        if self.attempts.max(self.lost) > ATTEMPTS_MAX {
            return Err(format!("posting.attempts and posting.lost: at most {ATTEMPTS_MAX}"));
        }
        let is_amount = |amount: f64| (0.0..=ETHER_MAX).contains(&amount);
        if !(is_amount(self.tip_cap_gwei) && is_amount(self.tip_floor_gwei)) {
            return Err("posting.tip_cap_gwei and posting.tip_floor_gwei: must be amounts of gwei".to_owned());
        }
        if self.tip_floor_gwei > self.tip_cap_gwei || wei(self.tip_cap_gwei, GWEI) > self.fee_cap() {
            return Err(format!(
                "posting.tip_floor_gwei = {}, tip_cap_gwei = {}, fee_cap_gwei = {}: none may be above the next",
                self.tip_floor_gwei, self.tip_cap_gwei, self.fee_cap_gwei
            ));
        }
        if !is_amount(self.balance_floor_ether) {
            return Err(format!(
                "posting.balance_floor_ether = {}: 0 to {ETHER_MAX}",
                self.balance_floor_ether
            ));
        }
        let least = self.fee_cap().saturating_mul(u128::from(self.gas_limit_max));
        match self.ether_per_hour {
            Some(ether) if !is_amount(ether) => {
                Err(format!("posting.ether_per_hour = {ether}: 0 to {ETHER_MAX}"))
            }
            Some(ether) if self.hourly_max() < least => Err(format!(
                "posting.ether_per_hour = {ether}: one transaction may cost {} ether, by fee_cap_gwei and gas_limit_max",
                dac_chain::amount::Ether::from(least)
            )),
            _ => Ok(()),
        }
    }
}

/// Converts an amount in units of `unit` wei to wei, rounded. `check` has verified that the amount
/// is finite and not negative.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked"
)]
fn wei(amount: f64, unit: u128) -> u128 {
    (amount * unit as f64).round() as u128
}

#[cfg(test)]
mod tests {
    use dac_types::{Address, Domain};

    use super::*;

    fn usual() -> PostingConfig {
        PostingConfig::default()
    }

    fn base() -> PosterConfig {
        PosterConfig::new(Domain { chain_id: 1, registry: Address::ZERO }, Address::ZERO)
    }

    #[test]
    fn amounts_are_wei() {
        let told = format!("{:?}", usual().apply_to(base()));
        assert_eq!(told, format!("{:?}", base()), "the defaults agree");
        let posting = PostingConfig {
            tip_cap_gwei: 2.0,
            tip_floor_gwei: 0.001,
            ether_per_hour: Some(1.5),
            balance_floor_ether: 0.1,
            ..usual()
        };
        posting.check().unwrap();
        let poster = posting.apply_to(base());
        assert_eq!((poster.tip_cap, poster.tip_floor), (2 * GWEI, 1_000_000));
        assert_eq!((poster.hourly_max, poster.balance_floor), (ETHER * 3 / 2, ETHER / 10));
    }

    #[test]
    fn what_an_hour_may_cost_follows_the_fee_cap() {
        assert_eq!(usual().hourly_max(), 15 * ETHER);
        assert_eq!(PostingConfig { fee_cap_gwei: 20, ..usual() }.hourly_max(), ETHER * 3 / 2);
    }

    #[test]
    fn what_could_not_work_is_refused() {
        for (table, problem) in [
            (PostingConfig { window: 0, ..usual() }, "posting.window"),
            (PostingConfig { lost: 0, ..usual() }, "posting.lost"),
            (PostingConfig { attempts: u32::MAX, ..usual() }, "posting.attempts"),
            (PostingConfig { fee_cap_gwei: u64::MAX, ..usual() }, "posting.fee_cap_gwei"),
            (PostingConfig { tip_cap_gwei: f64::NAN, ..usual() }, "posting.tip_cap_gwei"),
            (PostingConfig { tip_cap_gwei: -1.0, ..usual() }, "posting.tip_cap_gwei"),
            (PostingConfig { tip_cap_gwei: 300.0, ..usual() }, "none may be above"),
            (PostingConfig { tip_floor_gwei: 6.0, ..usual() }, "none may be above"),
            (PostingConfig { ether_per_hour: Some(0.5), ..usual() }, "one transaction may cost 0.6 ether"),
            (PostingConfig { ether_per_hour: Some(f64::INFINITY), ..usual() }, "posting.ether_per_hour"),
            (PostingConfig { balance_floor_ether: 1e308, ..usual() }, "posting.balance_floor_ether"),
        ] {
            let error = table.check().unwrap_err();
            assert!(error.contains(problem), "{table:?}: {error}");
        }
    }
}
