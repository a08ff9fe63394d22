//! What users do on L1.

use alloy::sol_types::SolCall;
use alloy_primitives::{Address, U256};
use dac_chain::Receipt;
use dac_chain::admin::Account;

use super::L1Error;
use super::abi::PaymentsRollup;
use crate::account::{AccountId, AccountIndex};
use crate::exit::ExitProof;
use crate::field;
use crate::inbox::Withdrawal;
use crate::keys::PublicKey;

/// Wei in a gwei.
pub const GWEI: u64 = 1_000_000_000;

/// The rollup's contract in the hands of an L1 account. Each call is simulated first: a refusal
/// costs no gas.
#[derive(Clone, Debug)]
pub struct RollupAccount {
    account: Account,
    settlement: Address,
}

impl RollupAccount {
    /// The contract at `settlement`, used through `account`.
    pub fn new(account: Account, settlement: Address) -> Self {
        Self { account, settlement }
    }

    /// The L1 account.
    pub fn address(&self) -> Address {
        self.account.address()
    }

    /// Deposits gwei for the account with this id, which is opened if need be.
    pub async fn deposit(&self, id: AccountId, gwei: u64) -> Result<Receipt, L1Error> {
        let wei = U256::from(gwei) * U256::from(GWEI);
        self.send(wei, PaymentsRollup::depositCall { id: field::to_b256(id.0) }).await
    }

    /// Asks for the whole balance of an account that names the sender as recipient.
    pub async fn request_exit(&self, key: PublicKey, index: AccountIndex) -> Result<Receipt, L1Error> {
        let (x, y) = key.coordinates();
        let call = PaymentsRollup::requestExitCall {
            keyX: field::to_u256(x),
            keyY: field::to_u256(y),
            accountIndex: index.0,
        };
        self.send(U256::ZERO, call).await
    }

    /// Stops the rollup for good, if there is a reason to.
    pub async fn freeze(&self) -> Result<Receipt, L1Error> {
        self.send(U256::ZERO, PaymentsRollup::freezeCall {}).await
    }

    /// Has an account's balance in the last state paid to its recipient. Once frozen.
    pub async fn exit(&self, proof: &ExitProof) -> Result<Receipt, L1Error> {
        let proof = PaymentsRollup::ExitProof {
            accountIndex: proof.account_index,
            nonce: proof.nonce,
            balance: proof.balance,
            keyX: proof.key_x,
            keyY: proof.key_y,
            recipient: proof.recipient,
            siblings: proof.siblings,
            inboxHead: proof.inbox_head,
        };
        self.send(U256::ZERO, PaymentsRollup::exitCall { proof }).await
    }

    /// Has one of a batch's withdrawals, counted from 0, paid to its recipient. `all` of them, in
    /// order, are what L1 has the hash of.
    pub async fn claim_withdrawal(
        &self,
        batch_number: u64,
        all: &[Withdrawal],
        which: u64,
    ) -> Result<Receipt, L1Error> {
        let all = all
            .iter()
            .map(|withdrawal| PaymentsRollup::Withdrawal {
                recipient: withdrawal.recipient,
                amount: withdrawal.amount,
            })
            .collect();
        let which = U256::from(which);
        let call = PaymentsRollup::claimWithdrawalCall { batchNumber: batch_number, all, which };
        self.send(U256::ZERO, call).await
    }

    /// Has a deposit that no batch took paid back to its sender, once the rollup is frozen.
    pub async fn refund_deposit(&self, number: u64) -> Result<Receipt, L1Error> {
        self.send(U256::ZERO, PaymentsRollup::refundDepositCall { number }).await
    }

    /// Stops settling and deposits for now, and nothing else. Owner only.
    pub async fn pause(&self) -> Result<Receipt, L1Error> {
        self.send(U256::ZERO, PaymentsRollup::pauseCall {}).await
    }

    /// Settles and takes deposits again. Owner only.
    pub async fn unpause(&self) -> Result<Receipt, L1Error> {
        self.send(U256::ZERO, PaymentsRollup::unpauseCall {}).await
    }

    async fn send(&self, wei: U256, call: impl SolCall) -> Result<Receipt, L1Error> {
        Ok(self.account.call(self.settlement, wei, call.abi_encode().into()).await?)
    }
}
