//! The `[chain]` table: the endpoints from which L1 is read, and the contracts on it.

use std::sync::Arc;
use std::time::Duration;

use dac_chain::{Endpoints, Follower, RegistryWatch, RpcRegistryReader};
use dac_types::{Address, Domain};
use serde::{Deserialize, Deserializer, de};
use tokio_util::sync::CancellationToken;

use super::{HttpUrl, Period, within};

/// The `[chain]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// The JSON-RPC endpoints, the preferred one first.
    pub rpc: Vec<HttpUrl>,
    /// The number of endpoints that must give the same answer to a deciding request. The default is
    /// 2 for three or more endpoints, and 1 for fewer.
    #[serde(default)]
    pub agree: Option<usize>,
    /// The EIP-155 chain id that all endpoints must serve.
    pub chain_id: u64,
    /// The address of the committee registry.
    #[serde(deserialize_with = "address")]
    pub registry: Address,
    /// The address of the certificate log.
    #[serde(deserialize_with = "address")]
    pub certificate_log: Address,
    /// How often the registry is read, and L1 is checked while something is being posted.
    #[serde(default = "default_poll_interval")]
    pub poll_interval: Period,
    /// The number of blocks that must lie on top of the one at which L1 is read.
    #[serde(default)]
    pub confirmations: u64,
    /// The age up to which a snapshot may be used for decisions.
    #[serde(default = "default_max_staleness")]
    pub max_staleness: Period,
    /// The longest wait for one answer.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: Period,
}

impl ChainConfig {
    /// Returns the domain in which signatures are valid: chain and registry.
    pub const fn domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, registry: self.registry }
    }

    /// Returns the endpoints of L1, with the number of them that must agree.
    ///
    /// # Errors
    /// It fails if a URL or the number cannot be used.
    pub fn endpoints(&self) -> Result<Endpoints, String> {
        let urls: Vec<&str> = self.rpc.iter().map(|url| url.expose().as_str()).collect();
        let agree = dac_chain::checked_agree(self.agree, urls.len())?;
        let endpoints = Endpoints::new(&urls, self.chain_id, *self.request_timeout);
        Ok(endpoints.map_err(|error| format!("chain.rpc: {error}"))?.agreeing(agree))
    }

    /// Reads the registry at the configured interval until `stop` is cancelled.
    pub fn follow(&self, endpoints: Endpoints, stop: CancellationToken) -> RegistryWatch {
        let reader = Arc::new(RpcRegistryReader::new(endpoints, self.registry));
        Follower::spawn(reader, *self.poll_interval, self.confirmations, stop)
    }

    /// Checks the rules that the type of a single value cannot express.
    ///
    /// # Errors
    /// The error names the key, the value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if self.rpc.is_empty() {
            return Err("chain.rpc: at least one URL".to_owned());
        }
        dac_chain::checked_agree(self.agree, self.rpc.len())?;
        for (name, address) in [("registry", self.registry), ("certificate_log", self.certificate_log)] {
            if address.is_zero() {
                return Err(format!("chain.{name}: not the zero address"));
            }
        }
        if self.registry == self.certificate_log {
            return Err("chain.certificate_log: not the registry's address".to_owned());
        }
        within("chain.poll_interval", self.poll_interval, Period::SHORTEST, Period::HOUR)?;
        within("chain.request_timeout", self.request_timeout, Period::SHORTEST, Period::HOUR)?;
        within("chain.max_staleness", self.max_staleness, Period::SHORTEST, Period::DAY)?;
        within("chain.confirmations", self.confirmations, 0, 10_000)?;
        if *self.max_staleness < *self.poll_interval {
            return Err(format!(
                "chain.max_staleness = \"{}\": shorter than chain.poll_interval = \"{}\"",
                self.max_staleness, self.poll_interval
            ));
        }
        Ok(())
    }

    /// Describes the endpoints through which L1 is read. Secrets in their URLs are left out.
    pub fn explain_rpc(&self) -> String {
        let urls = self.rpc.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match dac_chain::checked_agree(self.agree, self.rpc.len()) {
            Ok(agree) if agree > 1 => format!("{urls} ({agree} must agree)"),
            _ => format!("{urls} (each is believed)"),
        }
    }
}

const fn default_poll_interval() -> Period {
    Period::from_secs(4)
}

const fn default_max_staleness() -> Period {
    Period::from_secs(120)
}

const fn default_request_timeout() -> Period {
    Period(Duration::from_secs(10))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom("expected an address: 0x and 40 hexadecimal digits"))
}
