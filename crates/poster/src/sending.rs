//! Hands transactions to L1 and remembers the answers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use alloy::primitives::{Address, B256};
use tokio::time::Instant;
use tracing::{debug, info};

use super::plan::Observation;
use super::state::State;
use super::trouble::Trouble;
use super::{NonceSlot, Purpose, SentVariant};
use dac_chain::Broadcast;
use dac_chain::ChainError;
use dac_chain::SendAnswer;
use dac_chain::amount::Gwei;

/// How long the tip that a node's transaction pool asked for is remembered.
const ASKED_TIP_LIFETIME: Duration = Duration::from_secs(3600);

/// The transactions that were handed over, and the pools' answers. A new process starts with none.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// For each nonce, the variant that was last handed over, and the head at that time.
    broadcast: HashMap<u64, (B256, B256)>,
    /// For each nonce, the variant that was logged last.
    logged: HashMap<u64, B256>,
    /// For each nonce, the variant that every pool refused because its tip was too low.
    refused: HashMap<u64, B256>,
    /// The least tip that pools take, and when a pool named it.
    asked_tip: Option<(u128, Instant)>,
    /// The number of transactions handed over, including replacements.
    pub(super) sent: u64,
}

impl Sending {
    pub(super) fn forget(&mut self, nonce: u64) {
        self.broadcast.remove(&nonce);
        self.logged.remove(&nonce);
        self.refused.remove(&nonce);
    }

    /// Returns the least tip that pools take, or 0 if no pool named one lately.
    pub(super) fn asked_tip(&self) -> u128 {
        let asked = self.asked_tip.filter(|(_, at)| at.elapsed() < ASKED_TIP_LIFETIME);
        asked.map_or(0, |(tip, _)| tip)
    }

    /// Returns the nonces whose newest variant every pool refused because its tip was too low.
    pub(super) fn refused_tips(&self, state: &State) -> HashSet<u64> {
        let is_newest = |nonce: &u64, hash: &B256| {
            let slot = state.slot(*nonce);
            slot.and_then(|slot| slot.variants.last()).is_some_and(|newest| newest.hash == *hash)
        };
        self.refused.iter().filter(|(nonce, hash)| is_newest(nonce, hash)).map(|(nonce, _)| *nonce).collect()
    }

    /// Hands over the newest variant of every slot that is not included, once for each head: a node
    /// may have dropped it, restarted, or removed it by a reorganisation. A refused variant does
    /// not hold up the others.
    pub(super) async fn send(
        &mut self,
        broadcast: &dyn Broadcast,
        account: Address,
        state: &State,
        seen: &Observation,
    ) -> Result<Option<Trouble>, ChainError> {
        let head = seen.head.block.hash;
        let is_included =
            |slot: &NonceSlot| slot.variants.iter().any(|variant| seen.receipts.contains_key(&variant.hash));
        let (mut trouble, mut failure) = (None, None);
        for slot in state.slots().filter(|slot| !is_included(slot)) {
            let Some(newest) = slot.variants.last() else { continue };
            let nonce = slot.nonce;
            if self.broadcast.get(&nonce) == Some(&(newest.hash, head)) {
                continue;
            }
            let answer = broadcast.send_raw(&newest.raw).await;
            self.log(state, slot, newest, &answer);
            match answer {
                Ok(answer) => {
                    if answer != SendAnswer::Unfunded {
                        self.broadcast.insert(nonce, (newest.hash, head));
                    }
                    trouble = trouble.or(self.note(account, nonce, newest, answer));
                }
                Err(error @ ChainError::Refused { .. }) => failure = failure.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(trouble),
        }
    }

    fn note(
        &mut self,
        account: Address,
        nonce: u64,
        variant: &SentVariant,
        answer: SendAnswer,
    ) -> Option<Trouble> {
        match answer {
            // Either the nonce was used since the look, or the node wants a larger increase of the
            // fees over those of an older variant. The next look shows which.
            SendAnswer::Accepted | SendAnswer::NonceUsed | SendAnswer::Underpriced => None,
            SendAnswer::TipTooLow { needed } => {
                // If the pool does not name the tip that it wants, twice as much is offered.
                let asked = needed.unwrap_or(variant.fees.priority_fee.saturating_mul(2));
                self.asked_tip = Some((asked.max(self.asked_tip()), Instant::now()));
                self.refused.insert(nonce, variant.hash);
                Some(Trouble::TipTooLow { needed })
            }
            SendAnswer::Unfunded => Some(Trouble::SaidUnfunded { account }),
        }
    }

    /// Logs each transaction once, even if it is handed over several times or refused: an endpoint
    /// may pass on a transaction that it claims to have refused.
    fn log(
        &mut self,
        state: &State,
        slot: &NonceSlot,
        variant: &SentVariant,
        answer: &Result<SendAnswer, ChainError>,
    ) {
        let answer = match answer {
            Ok(answer) => answer.to_string(),
            Err(error) => error.to_string(),
        };
        let (nonce, tx) = (slot.nonce, variant.hash);
        if self.logged.get(&nonce) == Some(&tx) {
            debug!(nonce, %tx, answer, "transaction handed over once more");
            return;
        }
        self.logged.insert(nonce, tx);
        self.sent += 1;
        let posting = slot.digest.and_then(|digest| state.posting(digest));
        let kind = match (variant.purpose, posting) {
            (Purpose::Post, Some(posting)) => posting.task.kind().name(),
            (Purpose::Post, None) => "withdrawn",
            (Purpose::Cancel, _) => "cancel",
        };
        info!(
            nonce,
            %tx,
            kind,
            digest = slot.digest.map(tracing::field::display),
            attempt = posting.map(|posting| posting.attempts),
            max_fee_gwei = %Gwei(variant.fees.max_fee),
            tip_gwei = %Gwei(variant.fees.priority_fee),
            gas_limit = variant.gas_limit,
            replaces = slot.variants.len() - 1,
            answer,
            "transaction sent"
        );
    }
}
