//! Why a contract refused: the rollup's own errors, by name and with their values. Those of every
//! settlement contract are [`Refusal`]s already.

use alloy::sol_types::SolInterface;
use alloy_primitives::{Address, B256, U256};
use dac_chain::{ChainError, Refusal};
use thiserror::Error;

use super::abi::Groth16Adapter::Groth16AdapterErrors as AdapterErrors;
use super::abi::PaymentsRollup::PaymentsRollupErrors as Errors;

/// The rule that a call to the rollup's contract broke.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RollupRefusal {
    /// Not whole gwei, none, or too many.
    #[error("a deposit is 1 to 2^64 − 1 whole gwei, got {amount} wei")]
    DepositAmount {
        /// In wei.
        amount: U256,
    },
    /// Zero, or not below the field's order.
    #[error("{id} is nobody's account id")]
    AccountIdentity {
        /// As given.
        id: B256,
    },
    /// Has another representation that means the same.
    #[error("{value} is not below the field's order")]
    NotInField {
        /// As given.
        value: U256,
    },
    /// No such place.
    #[error("account index {got} is not in 1..={limit}")]
    AccountIndex {
        /// As given.
        got: u32,
        /// The largest.
        limit: U256,
    },
    /// Not the batch's withdrawals, or not in their order.
    #[error("these withdrawals hash to {got}, the batch granted {granted}")]
    WithdrawalsMismatch {
        /// Computed.
        got: B256,
        /// As settled.
        granted: B256,
    },
    /// Fewer withdrawals than that.
    #[error("there is no withdrawal {which} among {count}")]
    NoSuchWithdrawal {
        /// Counted from 0.
        which: U256,
        /// Of the batch.
        count: U256,
    },
    /// Paid before.
    #[error("withdrawal {which} of batch {batch_number} is claimed already")]
    AlreadyClaimed {
        /// Of the batch.
        batch_number: u64,
        /// Counted from 0.
        which: U256,
    },
    /// The proof is of another state, or of none.
    #[error("the proof leads to state root {got}, the last state is {state_root}: rebuild it")]
    StateMismatch {
        /// Computed.
        got: B256,
        /// The contract's.
        state_root: B256,
    },
    /// Paid before.
    #[error("account {account_index} has left already")]
    AlreadyExited {
        /// Its place.
        account_index: u32,
    },
    /// Its account's exit pays it.
    #[error("deposit {number} is in the state, {consumed} inputs are: its account's exit pays it")]
    DepositConsumed {
        /// In the inbox.
        number: u64,
        /// In all.
        consumed: u64,
    },
    /// Not a deposit, or refunded before.
    #[error("inbox entry {number} is no deposit that waits for a refund")]
    NothingToRefund {
        /// In the inbox.
        number: u64,
    },
    /// A contract that takes no ether.
    #[error("{recipient} did not take the payment")]
    PaymentFailed {
        /// Who.
        recipient: Address,
    },
    /// Any other of the contracts' errors: none of the calls made here meets it.
    #[error("the contract refused with {name}")]
    Other {
        /// Name and values.
        name: String,
    },
    /// An error of every settlement contract, or one that nothing explains.
    #[error("{0}")]
    Common(Refusal),
}

impl RollupRefusal {
    /// Of what the chain told. Errors that other contracts have too were read there.
    pub fn of(refusal: Refusal) -> Self {
        let Refusal::Unexplained { data } = &refusal else { return Self::Common(refusal) };
        if let Ok(error) = Errors::abi_decode(data) {
            return error.into();
        }
        if let Ok(error) = AdapterErrors::abi_decode(data) {
            return Self::Other { name: format!("{error:?}") };
        }
        Self::Common(refusal)
    }
}

impl From<Errors> for RollupRefusal {
    fn from(error: Errors) -> Self {
        use Errors as E;
        match error {
            E::DepositAmount(e) => Self::DepositAmount { amount: e.amount },
            E::AccountIdentity(e) => Self::AccountIdentity { id: e.id },
            E::NotInField(e) => Self::NotInField { value: e.value },
            E::AccountIndex(e) => Self::AccountIndex { got: e.got, limit: e.limit },
            E::WithdrawalsMismatch(e) => Self::WithdrawalsMismatch { got: e.got, granted: e.granted },
            E::NoSuchWithdrawal(e) => Self::NoSuchWithdrawal { which: e.which, count: e.count },
            E::AlreadyClaimed(e) => Self::AlreadyClaimed { batch_number: e.batchNumber, which: e.which },
            E::StateMismatch(e) => Self::StateMismatch { got: e.got, state_root: e.stateRoot },
            E::AlreadyExited(e) => Self::AlreadyExited { account_index: e.accountIndex },
            E::DepositConsumed(e) => Self::DepositConsumed { number: e.number, consumed: e.consumed },
            E::NothingToRefund(e) => Self::NothingToRefund { number: e.number },
            E::PaymentFailed(e) => Self::PaymentFailed { recipient: e.recipient },
            other => Self::Other { name: format!("{other:?}") },
        }
    }
}

/// What can go wrong with the rollup's contract.
#[derive(Debug, Error)]
pub enum L1Error {
    /// The contract refused, before any gas was spent.
    #[error("{0}")]
    Refused(RollupRefusal),
    /// L1 cannot be reached, or is not what it should be.
    #[error(transparent)]
    Chain(ChainError),
    /// An entry of the inbox that the contract cannot have made.
    #[error("inbox entry {number} is none of this rollup: {fault}")]
    Entry {
        /// In the inbox.
        number: u64,
        /// What is wrong with it.
        fault: super::EntryFault,
    },
    /// The events of L1 do not lead to what the contract says: an endpoint that leaves some out, or
    /// a deployment block that is too late.
    #[error(
        "the events from block {from} on are not the contract's whole history: {what} is {got}, the contract says {expected}"
    )]
    Incomplete {
        /// The first block looked at.
        from: u64,
        /// What differs.
        what: &'static str,
        /// By the events.
        got: String,
        /// By the contract.
        expected: String,
    },
    /// More than is read.
    #[error("the history has more than {limit} {what}")]
    TooLong {
        /// What there is too much of.
        what: &'static str,
        /// Read at most.
        limit: usize,
    },
}

impl From<ChainError> for L1Error {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Reverted(refusal) => Self::Refused(RollupRefusal::of(refusal)),
            error => Self::Chain(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolError;

    use super::super::abi::{Groth16Adapter, PaymentsRollup};
    use super::*;

    fn refusal(data: &[u8]) -> RollupRefusal {
        RollupRefusal::of(Refusal::decode(data))
    }

    #[test]
    fn the_rollups_errors_are_told_by_name_and_value() {
        let data = PaymentsRollup::AlreadyExited { accountIndex: 7 }.abi_encode();
        assert_eq!(refusal(&data), RollupRefusal::AlreadyExited { account_index: 7 });
        let (got, state_root) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let data = PaymentsRollup::StateMismatch { got, stateRoot: state_root }.abi_encode();
        assert_eq!(refusal(&data), RollupRefusal::StateMismatch { got, state_root });
        let thawed = PaymentsRollup::NotFrozen {};
        assert_eq!(refusal(&thawed.abi_encode()), RollupRefusal::Common(Refusal::of(&thawed)));
    }

    #[test]
    fn errors_of_every_settlement_contract_stay_what_they_are() {
        let data = PaymentsRollup::IsFrozen { reason: 1 }.abi_encode();
        assert_eq!(
            refusal(&data),
            RollupRefusal::Common(Refusal::of(&PaymentsRollup::IsFrozen { reason: 1 }))
        );
        assert!(matches!(refusal(&[1, 2, 3, 4]), RollupRefusal::Common(Refusal::Unexplained { .. })));
    }

    #[test]
    fn errors_that_only_deployment_meets_are_named() {
        let data = Groth16Adapter::NoKeys {}.abi_encode();
        assert!(refusal(&data).to_string().contains("NoKeys"), "{}", refusal(&data));
        let data = PaymentsRollup::WrongHasher { hasher: Address::ZERO }.abi_encode();
        assert!(refusal(&data).to_string().contains("WrongHasher"));
    }
}
