//! L1 transactions of the committee's owner and its operators: deploy, register, open epochs, admit
//! rollups, pause.
//!
//! Each call is simulated, sent, and waited for with a deadline. Nothing is persisted, because the
//! person who runs the command can run it again. Transactions that must survive a crash are sent by
//! the crate `dac-poster`.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolConstructor, SolEvent};
use dac_bls::{PublicKey, Signature};
use dac_types::{AdmittedRollup, Certificate, Domain};
use tracing::debug;

use crate::amount::GWEI;
use crate::contracts::calls::record_calldata;
use crate::contracts::{CertificateLog, CommitteeRegistry};
use crate::error::ChainError;
use crate::rpc::{At, Call, Endpoint, Endpoints, Receipt, SendAnswer};
use crate::settlement::SettleOrder;
use crate::transaction::{Draft, FeeBounds, Market, Signed, TransactionSigner, USUAL_TIP};

/// Limits on one transaction.
#[derive(Clone, Copy, Debug)]
pub struct SendLimits {
    /// How long to wait for inclusion.
    pub receipt_deadline: Duration,
    /// The pause between two requests for the receipt.
    pub poll_interval: Duration,
    /// The caps on wei per gas: on fee and tip together, and on the tip alone.
    pub fees: FeeBounds,
    /// The most gas that a transaction may use: L1 has had this limit per transaction since Osaka.
    pub gas_limit_max: u64,
}

impl Default for SendLimits {
    fn default() -> Self {
        Self {
            receipt_deadline: Duration::from_secs(180),
            poll_interval: Duration::from_millis(500),
            fees: FeeBounds { fee_cap: 200 * GWEI, tip_cap: 5 * GWEI, tip_floor: GWEI / 100 },
            gas_limit_max: 16_777_216,
        }
    }
}

/// An L1 account that sends transactions.
#[derive(Clone)]
pub struct Account {
    endpoints: Endpoints,
    signer: Arc<dyn TransactionSigner>,
    limits: SendLimits,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("address", &self.address())
            .field("endpoints", &self.endpoints)
            .finish()
    }
}

/// What an endpoint says before a transaction is built.
struct Prepared {
    gas: u64,
    /// The account's balance in wei.
    balance: U256,
    nonce: u64,
    market: Market,
}

/// The contracts of a deployed committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The committee registry.
    pub registry: Address,
    /// The certificate log.
    pub log: Address,
    /// The block that created the registry: nothing about this committee is older.
    pub block: u64,
    /// The gas that both deployments used.
    pub gas_used: u64,
}

impl Account {
    /// The account of `signer`, with the usual limits.
    pub fn new(endpoints: Endpoints, signer: Arc<dyn TransactionSigner>) -> Self {
        Self { endpoints, signer, limits: SendLimits::default() }
    }

    /// The same account with other limits.
    pub fn with_limits(self, limits: SendLimits) -> Self {
        Self { limits, ..self }
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// The account's balance in wei.
    pub async fn balance(&self) -> Result<U256, ChainError> {
        let address = self.address();
        self.endpoints.first(|endpoint| async move { endpoint.balance(address, At::Latest).await }).await
    }

    /// Deploys a registry owned by `owner` and a log of its certificates. Delay and grace are in
    /// seconds.
    pub async fn deploy(
        &self,
        owner: Address,
        activation_delay: u64,
        grace: u64,
    ) -> Result<Deployment, ChainError> {
        let arguments = CommitteeRegistry::constructorCall {
            owner_: owner,
            activationDelay_: activation_delay,
            grace_: grace,
        };
        let (registry, first) = self.create(&CommitteeRegistry::BYTECODE, &arguments.abi_encode()).await?;
        let arguments = CertificateLog::constructorCall { registry_: registry };
        let (log, second) = self.create(&CertificateLog::BYTECODE, &arguments.abi_encode()).await?;
        let gas_used = first.gas_used.saturating_add(second.gas_used);
        Ok(Deployment { registry, log, block: first.block, gas_used })
    }

    /// Deploys a contract: its creation code with the encoded arguments of its constructor.
    pub async fn create(&self, bytecode: &Bytes, arguments: &[u8]) -> Result<(Address, Receipt), ChainError> {
        let receipt = self.send(None, U256::ZERO, [bytecode.as_ref(), arguments].concat().into()).await?;
        let address = receipt.contract.ok_or(ChainError::TransactionFailed { hash: receipt.tx_hash })?;
        Ok((address, receipt))
    }

    /// Records a certificate. Nothing is persisted or retried, as the poster would do: for tools
    /// and tests.
    pub async fn record(&self, log: Address, certificate: &Certificate) -> Result<Receipt, ChainError> {
        self.call(log, U256::ZERO, record_calldata(certificate)?).await
    }

    /// Settles a batch, which anyone may do. Nothing is persisted or retried, as the poster would
    /// do: for tools and tests.
    pub async fn settle(&self, order: &SettleOrder) -> Result<Receipt, ChainError> {
        self.call(order.settlement, U256::ZERO, order.calldata.clone()).await
    }

    /// Calls a contract with a value in wei. If the contract refuses, this fails with
    /// [`ChainError::Reverted`] before any gas is spent.
    pub async fn call(&self, to: Address, value: U256, data: Bytes) -> Result<Receipt, ChainError> {
        self.send(Some(to), value, data).await
    }

    /// Simulates a transaction, sends it and waits for its receipt. Before any gas is spent, this
    /// fails with [`ChainError::Reverted`] if the contract refuses, and with
    /// [`ChainError::Unfunded`] if the account owns too little.
    async fn send(&self, to: Option<Address>, value: U256, data: Bytes) -> Result<Receipt, ChainError> {
        let call = Call { from: Some(self.address()), to, value, data: data.clone() };
        let prepared = self.endpoints.first(|endpoint| {
            let call = &call;
            async move { self.prepare(&endpoint, call).await }
        });
        let Prepared { gas, balance, nonce, mut market } = prepared.await?;
        if gas > self.limits.gas_limit_max {
            return Err(ChainError::GasLimit { needed: gas, limit: self.limits.gas_limit_max });
        }
        let gas_limit = gas.saturating_add(gas / 5).min(self.limits.gas_limit_max);
        let hash = loop {
            let fees = market.first()?;
            let needed = value.saturating_add(U256::from(fees.cost_max(gas_limit)));
            let unfunded = ChainError::Unfunded { account: self.address(), balance, needed };
            if balance < needed {
                return Err(unfunded);
            }
            let draft = Draft {
                chain_id: self.endpoints.chain_id(),
                nonce,
                gas_limit,
                fees,
                to,
                value,
                data: data.clone(),
            };
            let Signed { hash, raw } = draft.sign(&*self.signer)?;
            debug!(tx = %hash, nonce, gas, "sending");
            let raw = &raw;
            match self.endpoints.first(|endpoint| async move { endpoint.send_raw(raw).await }).await? {
                SendAnswer::Accepted => break hash,
                // No pool has the transaction yet, so it is built again with the tip that the node
                // asks for, within the bounds.
                SendAnswer::TipTooLow { needed } => {
                    let tip = fees.priority_fee;
                    let asked = needed.unwrap_or(tip.saturating_mul(2));
                    if asked <= tip {
                        return Err(ChainError::TipCap { needed: asked, cap: tip });
                    }
                    market.asked_tip = asked;
                }
                SendAnswer::Unfunded => return Err(unfunded),
                // An endpoint may take the transaction and then fail to say so. The next endpoint
                // then reports its nonce as used: by this very transaction.
                SendAnswer::NonceUsed | SendAnswer::Underpriced => match self.receipt(hash).await? {
                    Some(_) => break hash,
                    None => return Err(ChainError::NonceTaken { nonce }),
                },
            }
        };
        let receipt = self.wait(hash).await?;
        if receipt.success { Ok(receipt) } else { Err(self.explain(&call, &receipt).await) }
    }

    /// Asks one endpoint for all that is needed to build a transaction.
    async fn prepare(&self, endpoint: &Endpoint, call: &Call) -> Result<Prepared, ChainError> {
        if let Some(address) = call.to
            && endpoint.code(address).await?.is_empty()
        {
            return Err(ChainError::NoContract { contract: "contract", address });
        }
        let balance = endpoint.balance(self.address(), At::Latest).await?;
        let head = endpoint.head().await?;
        let suggested_tip = match endpoint.priority_fee().await {
            Err(ChainError::Refused { .. }) => USUAL_TIP,
            tip => tip?,
        };
        let (base_fee, bounds) = (head.base_fee, self.limits.fees);
        let market = Market { base_fee, suggested_tip, asked_tip: 0, bounds };
        let gas = match self.try_call(endpoint, call).await {
            // Some nodes run only calls of accounts that could pay for them. Without a sender they
            // tell what the call would cost.
            Err(ChainError::Refused { message, .. })
                if SendAnswer::of(&message) == Some(SendAnswer::Unfunded) =>
            {
                let anybody = Call { from: None, ..call.clone() };
                let gas = self.try_call(endpoint, &anybody).await.unwrap_or(self.limits.gas_limit_max);
                let (cost, account) = (market.first()?.cost_max(gas), self.address());
                let needed = call.value.saturating_add(U256::from(cost));
                return Err(ChainError::Unfunded { account, balance, needed });
            }
            gas => gas?,
        };
        let nonce = endpoint.nonce(self.address(), At::Pending).await?;
        Ok(Prepared { gas, balance, nonce, market })
    }

    /// Simulates a call and estimates the gas that it takes.
    async fn try_call(&self, endpoint: &Endpoint, call: &Call) -> Result<u64, ChainError> {
        // Simulated apart from the estimate, because some nodes explain a refused estimate less
        // well.
        endpoint.call(call, At::Latest).await?.map_err(ChainError::Reverted)?;
        endpoint.estimate_gas(call, At::Latest).await?.map_err(ChainError::Reverted)
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        self.endpoints.first(|endpoint| async move { endpoint.receipt(hash).await }).await
    }

    async fn wait(&self, hash: B256) -> Result<Receipt, ChainError> {
        let poll = async {
            loop {
                // The transaction stays sent even if an endpoint fails for a moment.
                match self.receipt(hash).await {
                    Ok(Some(receipt)) => return receipt,
                    Ok(None) => {}
                    Err(error) => debug!(%error, tx = %hash, "the receipt cannot be asked for"),
                }
                tokio::time::sleep(self.limits.poll_interval).await;
            }
        };
        let limit = self.limits.receipt_deadline;
        tokio::time::timeout(limit, poll).await.map_err(|_| ChainError::ReceiptDeadline { hash, limit })
    }

    /// Finds out why an included transaction failed, by running it again after its block.
    async fn explain(&self, call: &Call, receipt: &Receipt) -> ChainError {
        let at = At::Hash(receipt.block_hash);
        match self.endpoints.first(|endpoint| async move { endpoint.call(call, at).await }).await {
            Ok(Err(revert)) => ChainError::Reverted(revert),
            _ => ChainError::TransactionFailed { hash: receipt.tx_hash },
        }
    }
}

/// A committee registry, called from the account of its owner or of an operator.
#[derive(Clone, Debug)]
pub struct RegistryAdmin {
    account: Account,
    registry: Address,
}

impl RegistryAdmin {
    /// The registry at `registry`, used through `account`.
    pub fn new(account: Account, registry: Address) -> Self {
        Self { account, registry }
    }

    /// The domain in which signatures of this committee are valid.
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.account.endpoints.chain_id(), registry: self.registry }
    }

    /// Registers the account as an operator, or replaces its key and URLs. `possession` is
    /// `SecretKey::prove_possession(domain, account)`.
    pub async fn register(
        &self,
        key: &PublicKey,
        possession: &Signature,
        dispersal_url: &str,
        retrieval_url: &str,
    ) -> Result<Receipt, ChainError> {
        self.send(CommitteeRegistry::registerCall {
            key: key.to_eip2537().to_vec().into(),
            possession: possession.to_eip2537().to_vec().into(),
            dispersalUrl: dispersal_url.to_owned(),
            retrievalUrl: retrieval_url.to_owned(),
        })
        .await
    }

    /// Changes the URLs at which the account, a registered operator, answers.
    pub async fn set_endpoints(
        &self,
        dispersal_url: &str,
        retrieval_url: &str,
    ) -> Result<Receipt, ChainError> {
        self.send(CommitteeRegistry::setEndpointsCall {
            dispersalUrl: dispersal_url.to_owned(),
            retrievalUrl: retrieval_url.to_owned(),
        })
        .await
    }

    /// Seats `operators`, in this order, as the next epoch, and returns its number. Owner only.
    pub async fn open_epoch(
        &self,
        operators: &[Address],
        k: u16,
        q: u16,
    ) -> Result<(u64, Receipt), ChainError> {
        let receipt = self.send(CommitteeRegistry::openEpochCall { seats: operators.to_vec(), k, q }).await?;
        let topics = [Some(CommitteeRegistry::EpochOpened::SIGNATURE_HASH)];
        let logs = self
            .account
            .endpoints
            .first(|endpoint| async move {
                endpoint.logs(self.registry, &topics, receipt.block, receipt.block).await
            })
            .await?;
        let opened = logs.iter().find(|log| log.tx_hash == Some(receipt.tx_hash));
        // The epoch's number is the event's only indexed value.
        let epoch = opened
            .and_then(|log| log.topics.get(1))
            .map(|topic| topic.0[24..].try_into().map(u64::from_be_bytes));
        match epoch {
            Some(Ok(epoch)) => Ok((epoch, receipt)),
            _ => Err(ChainError::TransactionFailed { hash: receipt.tx_hash }),
        }
    }

    /// Admits a rollup, or changes its terms. Owner only.
    pub async fn admit_rollup(&self, rollup: &AdmittedRollup) -> Result<Receipt, ChainError> {
        self.send(CommitteeRegistry::admitRollupCall {
            account: rollup.rollup,
            poster: rollup.poster,
            maxRetention: rollup.retention_max_seconds,
            dailyBytes: rollup.daily_payload_bytes,
        })
        .await
    }

    /// Stops taking a rollup's batches; what was signed is kept until it expires. Owner only.
    pub async fn remove_rollup(&self, rollup: Address) -> Result<Receipt, ChainError> {
        self.send(CommitteeRegistry::removeRollupCall { account: rollup }).await
    }

    /// Stops new batches and records. Owner only.
    pub async fn pause(&self) -> Result<Receipt, ChainError> {
        self.send(CommitteeRegistry::pauseCall {}).await
    }

    /// Takes new batches and records again. Owner only.
    pub async fn unpause(&self) -> Result<Receipt, ChainError> {
        self.send(CommitteeRegistry::unpauseCall {}).await
    }

    /// Offers the registry to a new owner, who must accept it. Owner only.
    pub async fn transfer_ownership(&self, new_owner: Address) -> Result<Receipt, ChainError> {
        self.send(CommitteeRegistry::transferOwnershipCall { newOwner: new_owner }).await
    }

    /// Accepts the registry that was offered to the account.
    pub async fn accept_ownership(&self) -> Result<Receipt, ChainError> {
        self.send(CommitteeRegistry::acceptOwnershipCall {}).await
    }

    async fn send<C: SolCall>(&self, call: C) -> Result<Receipt, ChainError> {
        self.account.call(self.registry, U256::ZERO, call.abi_encode().into()).await
    }
}
