//! The registry's data apart from its epochs: registered operators and their keys, and how long the
//! owner's changes take.

use std::collections::BTreeSet;

use alloy::primitives::Address;
use alloy::sol_types::{SolCall, SolEvent};
use dac_bls::PublicKey;
use dac_types::PublicKeyBytes;
use dac_types::limits::ENDPOINT_URL_MAX_BYTES;

use crate::contracts::CommitteeRegistry;
use crate::contracts::CommitteeRegistry::OperatorRegistered;
use crate::error::ChainError;
use crate::events::{self, BLOCKS_PER_PAGE, Filter};
use crate::registry::RpcRegistryReader;
use crate::rpc::{At, Call};

/// The most operators that [`RpcRegistryReader::registered_operators`] collects. Anyone may
/// register, so their number is bounded here.
const OPERATORS_MAX: usize = 10_000;

/// An operator's registration. The next epoch that seats the operator takes this key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The operator's L1 account.
    pub operator: Address,
    /// The operator's BLS key.
    pub public_key: PublicKeyBytes,
    /// The URL at which it receives shards.
    pub dispersal_url: String,
    /// The URL at which it serves shards.
    pub retrieval_url: String,
}

/// How long the owner's changes take, fixed when the registry was deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryTerms {
    /// The account that may open epochs.
    pub owner: Address,
    /// Seconds from opening an epoch to its beginning.
    pub activation_delay: u64,
    /// The seconds for which a replaced epoch's certificates can still be posted.
    pub grace: u64,
}

impl RpcRegistryReader {
    /// Reads owner, delay and grace as of the newest block.
    pub async fn terms(&self) -> Result<RegistryTerms, ChainError> {
        Ok(RegistryTerms {
            owner: self.ask(CommitteeRegistry::ownerCall {}).await?,
            activation_delay: self.ask(CommitteeRegistry::activationDelayCall {}).await?,
            grace: self.ask(CommitteeRegistry::graceCall {}).await?,
        })
    }

    /// Reads an operator's registration as of the newest block; `None` if the address is not
    /// registered.
    pub async fn registration(&self, operator: Address) -> Result<Option<Registration>, ChainError> {
        let record = self.ask(CommitteeRegistry::operatorCall { account: operator }).await?;
        if record.key.is_empty() {
            return Ok(None);
        }
        let malformed = |reason: String| ChainError::Malformed {
            endpoint: "the registry".into(),
            method: "eth_call",
            reason: format!("operator {operator}: {reason}"),
        };
        let raw: &[u8; 256] = record
            .key
            .as_ref()
            .try_into()
            .map_err(|_| malformed(format!("a key has 256 bytes, got {}", record.key.len())))?;
        let key = PublicKey::from_eip2537(raw).map_err(|error| malformed(error.to_string()))?;
        for url in [&record.dispersalUrl, &record.retrievalUrl] {
            if url.len() > ENDPOINT_URL_MAX_BYTES {
                let got = url.len();
                return Err(malformed(format!(
                    "a URL has at most {ENDPOINT_URL_MAX_BYTES} bytes, got {got}"
                )));
            }
        }
        Ok(Some(Registration {
            operator,
            public_key: key.to_compressed(),
            dispersal_url: record.dispersalUrl,
            retrieval_url: record.retrievalUrl,
        }))
    }

    /// Returns the operators that have registered since `from_block`. `progress` is called with the
    /// next block to read and the last one.
    pub async fn registered_operators(
        &self,
        from_block: u64,
        progress: impl Fn(u64, u64),
    ) -> Result<BTreeSet<Address>, ChainError> {
        let to_block = self.endpoints().head().await?.block.number;
        let topics = [Some(OperatorRegistered::SIGNATURE_HASH)];
        let filter = Filter { contract: self.domain().registry, topics: &topics };
        let mut operators = BTreeSet::new();
        let mut next = from_block;
        while next <= to_block {
            progress(next, to_block);
            let (found, after) =
                events::page::<OperatorRegistered>(self.endpoints(), filter, next, to_block, BLOCKS_PER_PAGE)
                    .await?;
            operators.extend(found.into_iter().map(|found| found.event.operator));
            if operators.len() > OPERATORS_MAX {
                return Err(ChainError::TooManyEvents {
                    from: from_block,
                    to: to_block,
                    limit: OPERATORS_MAX,
                });
            }
            next = after;
        }
        Ok(operators)
    }

    async fn ask<C: SolCall>(&self, call: C) -> Result<C::Return, ChainError> {
        let address = self.domain().registry;
        let request = Call::view(address, call.abi_encode());
        self.endpoints()
            .first(|endpoint| {
                let request = &request;
                async move {
                    let data = endpoint.call(request, At::Latest).await?.map_err(ChainError::Reverted)?;
                    if data.is_empty() {
                        return Err(ChainError::NoContract { contract: "committee registry", address });
                    }
                    C::abi_decode_returns_validate(&data).map_err(|error| ChainError::Malformed {
                        endpoint: endpoint.name().into(),
                        method: "eth_call",
                        reason: format!("{}: {error}", C::SIGNATURE),
                    })
                }
            })
            .await
    }
}
