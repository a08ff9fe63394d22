//! What the rollup's contract says: its present state, and everything that led there.

use alloy_primitives::{Address, B256};
use dac_chain::contracts::FreezeReason;
use dac_chain::{BlockRef, ContractReader, Endpoints};

use super::abi::PaymentsRollup::{self, BatchSettled, InputAppended};
use super::{L1Error, decode_entry};
use crate::rebuild::{BatchRecord, History, InboxRecord};

/// Events of one kind that a history has, at most: bounds what an endpoint can make this process
/// hold.
const EVENTS_MAX: usize = 1_000_000;

/// The contract as of one block. Times are Unix seconds, delays seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The block.
    pub as_of: BlockRef,
    /// The committee's registry.
    pub registry: Address,
    /// The certificate log.
    pub certificate_log: Address,
    /// What checks proofs.
    pub verifier: Address,
    /// May pause, and change the verifier after the delay.
    pub owner: Address,
    /// The state that users can leave with.
    pub state_root: B256,
    /// Batches settled.
    pub batch_count: u64,
    /// Entries of the inbox.
    pub inbox_length: u64,
    /// Those that batches took.
    pub inputs_consumed: u64,
    /// Time of the last settlement, or of deployment.
    pub last_settled_at: u64,
    /// Until when all settled batches are kept.
    pub coverage_until: u64,
    /// Nothing settles and no deposit is taken for now.
    pub paused: bool,
    /// Why nothing settles any more.
    pub frozen_for: Option<FreezeReason>,
    /// Why anyone may freeze now.
    pub freeze_reason: Option<FreezeReason>,
    /// Seconds without service before anyone may freeze.
    pub freeze_delay: u64,
    /// Seconds that users have to leave.
    pub exit_window: u64,
    /// Seconds between proposing and accepting a verifier.
    pub verifier_delay: u64,
}

/// What L1 remembers of an entry of the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The depositor, or the recipient of an exit request.
    pub account: Address,
    /// Of a deposit that was not refunded; zero otherwise.
    pub gwei: u64,
    /// When it was made.
    pub since: u32,
}

/// A history, and the state root that it must lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Up to this block, included.
    pub as_of: BlockRef,
    /// Everything that happened.
    pub history: History,
    /// The contract's, as of that block.
    pub state_root: B256,
}

/// Reads one rollup's contract.
#[derive(Clone, Debug)]
pub struct RollupReader {
    contract: ContractReader,
}

impl RollupReader {
    /// A reader of the contract at `settlement`.
    pub fn new(endpoints: Endpoints, settlement: Address) -> Self {
        Self { contract: ContractReader::new(endpoints, "payments rollup", settlement) }
    }

    /// The contract's address.
    pub fn address(&self) -> Address {
        self.contract.address()
    }

    /// All that it says of itself, as of the newest block.
    pub async fn status(&self) -> Result<Status, L1Error> {
        let (contract, as_of) = (&self.contract, self.contract.head().await?);
        let at = as_of.hash;
        Ok(Status {
            as_of,
            registry: contract.view(PaymentsRollup::registryCall {}, at).await?,
            certificate_log: contract.view(PaymentsRollup::logCall {}, at).await?,
            verifier: contract.view(PaymentsRollup::verifierCall {}, at).await?,
            owner: contract.view(PaymentsRollup::ownerCall {}, at).await?,
            state_root: contract.view(PaymentsRollup::stateRootCall {}, at).await?,
            batch_count: contract.view(PaymentsRollup::batchCountCall {}, at).await?,
            inbox_length: contract.view(PaymentsRollup::inboxLengthCall {}, at).await?,
            inputs_consumed: contract.view(PaymentsRollup::inputsConsumedCall {}, at).await?,
            last_settled_at: contract.view(PaymentsRollup::lastSettledAtCall {}, at).await?,
            coverage_until: contract.view(PaymentsRollup::coverageUntilCall {}, at).await?,
            paused: contract.view(PaymentsRollup::pausedCall {}, at).await?,
            frozen_for: FreezeReason::of(contract.view(PaymentsRollup::frozenForCall {}, at).await?),
            freeze_reason: FreezeReason::of(contract.view(PaymentsRollup::freezeReasonCall {}, at).await?),
            freeze_delay: contract.view(PaymentsRollup::freezeDelayCall {}, at).await?,
            exit_window: contract.view(PaymentsRollup::exitWindowCall {}, at).await?,
            verifier_delay: contract.view(PaymentsRollup::verifierDelayCall {}, at).await?,
        })
    }

    /// Whether an account has left.
    pub async fn exited(&self, account_index: u32) -> Result<bool, L1Error> {
        let at = self.contract.head().await?.hash;
        Ok(self.contract.view(PaymentsRollup::exitedCall { accountIndex: account_index }, at).await?)
    }

    /// Whether a withdrawal of a batch, counted from 0, was paid.
    pub async fn claimed(&self, batch_number: u64, which: u64) -> Result<bool, L1Error> {
        let at = self.contract.head().await?.hash;
        let which = alloy_primitives::U256::from(which);
        Ok(self.contract.view(PaymentsRollup::claimedCall { batchNumber: batch_number, which }, at).await?)
    }

    /// What L1 remembers of an entry of the inbox; all zero where there is none.
    pub async fn inbox_entry(&self, number: u64) -> Result<Waiting, L1Error> {
        let at = self.contract.head().await?.hash;
        let entry = self.contract.view(PaymentsRollup::inboxEntryCall { number }, at).await?;
        Ok(Waiting { account: entry.account, gwei: entry.amount, since: entry.time })
    }

    /// Everything that happened from `from_block`, which must not be later than the contract's
    /// deployment, up to the newest block. What the events leave out is found out, since the
    /// contract counts. `progress` is told the next block and the last one.
    pub async fn history(
        &self,
        from_block: u64,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Read, L1Error> {
        let as_of = self.contract.head().await?;
        let (last, at) = (as_of.number, as_of.hash);
        let mut history = History::default();
        let mut next = from_block;
        while next <= last {
            progress(next, last);
            next = self.page(next, last, &mut history).await?;
        }
        progress(next, last);

        let contract = &self.contract;
        let inbox_length: u64 = contract.view(PaymentsRollup::inboxLengthCall {}, at).await?;
        let batch_count: u64 = contract.view(PaymentsRollup::batchCountCall {}, at).await?;
        let state_root: B256 = contract.view(PaymentsRollup::stateRootCall {}, at).await?;
        let agree = |what, got: u64, expected: u64| {
            if got == expected {
                return Ok(());
            }
            let (got, expected) = (got.to_string(), expected.to_string());
            Err(L1Error::Incomplete { from: from_block, what, got, expected })
        };
        agree("the number of batches", history.batches.len() as u64, batch_count)?;
        agree("the inbox's length", history.inbox.len() as u64, inbox_length)?;
        if let Some(batch) = history.batches.last()
            && batch.new_state_root != state_root
        {
            let (got, expected) = (batch.new_state_root.to_string(), state_root.to_string());
            return Err(L1Error::Incomplete { from: from_block, what: "the state root", got, expected });
        }
        Ok(Read { as_of, history, state_root })
    }

    /// Both kinds of events of a range whose width the endpoint grants; returns where the next one
    /// begins.
    async fn page(&self, from: u64, last: u64, history: &mut History) -> Result<u64, L1Error> {
        let batches = self.contract.event_page::<BatchSettled>(from, last).await?;
        let to = batches.next_block - 1;
        for found in batches.events {
            let event = found.event;
            history.batches.push(BatchRecord {
                number: event.batchNumber,
                digest: event.digest,
                new_state_root: event.newStateRoot,
                inputs_consumed: event.inputsConsumed,
                outputs: event.outputs,
            });
        }
        let mut next = from;
        while next <= to {
            let inbox = self.contract.event_page::<InputAppended>(next, to).await?;
            for found in inbox.events {
                let InputAppended { number, id, word, head } = found.event;
                let entry = decode_entry(id, word).map_err(|fault| L1Error::Entry { number, fault })?;
                history.inbox.push(InboxRecord { number, entry, head });
            }
            next = inbox.next_block;
        }
        let most = [(history.batches.len(), "batches"), (history.inbox.len(), "inbox entries")];
        match most.into_iter().find(|(count, _)| *count > EVENTS_MAX) {
            Some((_, what)) => Err(L1Error::TooLong { what, limit: EVENTS_MAX }),
            None => Ok(to + 1),
        }
    }
}
