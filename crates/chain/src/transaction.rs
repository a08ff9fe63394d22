//! Making and signing the EIP-1559 transactions that this crate sends.

mod answer;
mod fees;
mod market;

use alloy::consensus::transaction::RlpEcdsaEncodableTx;
use alloy::consensus::{SignableTransaction, TxEip1559};
use alloy::primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::signers::{Signer, SignerSync};

pub use self::answer::SendAnswer;
pub use self::fees::Fees;
pub use self::market::FeeBounds;
pub use self::market::{Market, USUAL_TIP};
use crate::error::ChainError;

/// Gas of a plain transfer.
pub const TRANSFER_GAS: u64 = 21_000;

/// Holds the secp256k1 key of an L1 account.
pub trait TransactionSigner: Send + Sync {
    /// The account.
    fn address(&self) -> Address;
    /// Signs a 32-byte hash.
    fn sign_hash(&self, hash: &B256) -> Result<Signature, ChainError>;
}

impl TransactionSigner for PrivateKeySigner {
    fn address(&self) -> Address {
        Signer::address(self)
    }

    fn sign_hash(&self, hash: &B256) -> Result<Signature, ChainError> {
        self.sign_hash_sync(hash).map_err(|error| ChainError::Signing(error.to_string()))
    }
}

/// A transaction before it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The chain that it is for.
    pub chain_id: u64,
    /// The account's number for it.
    pub nonce: u64,
    /// Gas that it may take.
    pub gas_limit: u64,
    /// What it pays for gas.
    pub fees: Fees,
    /// The account or contract that is called; none creates a contract.
    pub to: Option<Address>,
    /// Ether that goes with it, in wei.
    pub value: U256,
    /// The call.
    pub data: Bytes,
}

/// A signed transaction: what is sent, and the hash by which it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Its hash.
    pub hash: B256,
    /// Its bytes.
    pub raw: Bytes,
}

impl Draft {
    /// Signs it.
    pub fn sign(self, signer: &dyn TransactionSigner) -> Result<Signed, ChainError> {
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fees.max_fee,
            max_priority_fee_per_gas: self.fees.priority_fee,
            to: self.to.map_or(TxKind::Create, TxKind::Call),
            value: self.value,
            access_list: Default::default(),
            input: self.data,
        };
        let signature = signer.sign_hash(&transaction.signature_hash())?;
        let mut raw = Vec::new();
        transaction.eip2718_encode(&signature, &mut raw);
        Ok(Signed { hash: keccak256(&raw), raw: raw.into() })
    }
}
