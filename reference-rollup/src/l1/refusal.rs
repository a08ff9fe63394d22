//! Why a contract refused a call: the rollup's own errors, by name and with their values. The
//! errors of every settlement contract are [`Refusal`]s already.

use alloy::sol_types::SolInterface;
use alloy_primitives::{Address, B256, U256};
use dac_chain::{ChainError, Refusal};
use thiserror::Error;

use super::abi::Groth16Adapter::Groth16AdapterErrors as AdapterErrors;
use super::abi::PaymentsRollup::PaymentsRollupErrors as Errors;

/// The rule of the rollup's contract that a call broke.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RollupRefusal {
    /// The deposit is not whole gwei, is zero, or is too large.
    #[error("a deposit is 1 to 2^64 − 1 whole gwei, got {amount} wei")]
    DepositAmount {
        /// The amount in wei.
        amount: U256,
    },
    /// The account id is zero, or not below the field's order.
    #[error("{id} is not a valid account id")]
    AccountIdentity {
        /// The given id.
        id: B256,
    },
    /// The value is not below the field's order, so it has a second representation.
    #[error("{value} is not below the field's order")]
    NotInField {
        /// The given value.
        value: U256,
    },
    /// The index is outside the tree.
    #[error("account index {got} is not in 1..={limit}")]
    AccountIndex {
        /// The given index.
        got: u32,
        /// The largest index.
        limit: U256,
    },
    /// The withdrawals are not the batch's, or not in its order.
    #[error("these withdrawals hash to {got}, the batch granted {granted}")]
    WithdrawalsMismatch {
        /// The commitment to the given withdrawals.
        got: B256,
        /// The commitment that settled.
        granted: B256,
    },
    /// The batch has fewer withdrawals.
    #[error("there is no withdrawal {which} among {count}")]
    NoSuchWithdrawal {
        /// The withdrawal's position, counted from 0.
        which: U256,
        /// The number of withdrawals of the batch.
        count: U256,
    },
    /// The withdrawal was paid before.
    #[error("withdrawal {which} of batch {batch_number} is claimed already")]
    AlreadyClaimed {
        /// The number of the batch.
        batch_number: u64,
        /// The withdrawal's position, counted from 0.
        which: U256,
    },
    /// The exit proof is for another state, or for none.
    #[error("the proof leads to state root {got}, the last state is {state_root}: rebuild it")]
    StateMismatch {
        /// The state root that the proof leads to.
        got: B256,
        /// The contract's state root.
        state_root: B256,
    },
    /// The account's balance was paid before.
    #[error("account {account_index} has left already")]
    AlreadyExited {
        /// The account's place in the tree.
        account_index: u32,
    },
    /// A batch took the deposit, so the exit of its account pays it.
    #[error(
        "deposit {number} is in the state, which has taken {consumed} inbox entries: its account's exit pays it"
    )]
    DepositConsumed {
        /// The deposit's number in the inbox.
        number: u64,
        /// The number of inbox entries taken in all.
        consumed: u64,
    },
    /// The entry is not a deposit, or was refunded before.
    #[error("inbox entry {number} is not a deposit that can be refunded")]
    NothingToRefund {
        /// The entry's number in the inbox.
        number: u64,
    },
    /// The recipient is a contract that does not accept ether.
    #[error("{recipient} did not take the payment")]
    PaymentFailed {
        /// The recipient's address.
        recipient: Address,
    },
    /// The contract returned another of its errors, which none of the calls made here can cause.
    #[error("the contract refused with {name}")]
    Other {
        /// The error's name and values.
        name: String,
    },
    /// An error that every settlement contract has, or a failure that nothing explains.
    #[error("{0}")]
    Common(Refusal),
}

impl RollupRefusal {
    /// The rollup's meaning of a refusal. Errors that other contracts have too are decoded already.
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

/// An error of reading or calling the rollup's contract.
#[derive(Debug, Error)]
pub enum L1Error {
    /// The contract refused, before any gas was spent.
    #[error("{0}")]
    Refused(RollupRefusal),
    /// L1 is out of reach, or its answers are not as expected.
    #[error(transparent)]
    Chain(ChainError),
    /// The contract cannot have made this inbox entry.
    #[error("inbox entry {number} cannot be of this rollup: {fault}")]
    Entry {
        /// The entry's number in the inbox.
        number: u64,
        /// What is wrong with the entry.
        fault: super::EntryFault,
    },
    /// The events do not lead to the contract's state: an endpoint left some out, or the deployment
    /// block is too late.
    #[error(
        "the events from block {from} on are not the contract's whole history: {what} is {got}, the contract says {expected}"
    )]
    Incomplete {
        /// The first block that was read.
        from: u64,
        /// The value that differs.
        what: &'static str,
        /// The value that follows from the events.
        got: String,
        /// The contract's value.
        expected: String,
    },
    /// The history is longer than this process reads.
    #[error("the history has more than {limit} {what}")]
    TooLong {
        /// The kind of entries.
        what: &'static str,
        /// The most entries that are read.
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
