//! Builds and signs the EIP-1559 transactions that this crate sends.

mod answer;
mod fees;
mod market;

use alloy::primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_rlp::Encodable;
use dac_types::EcdsaKey;

pub use self::answer::SendAnswer;
pub use self::fees::Fees;
pub use self::market::FeeBounds;
pub use self::market::{Market, USUAL_TIP};
use crate::error::ChainError;

/// The first byte of a transaction with a base fee and a tip: its type.
const EIP_1559: u8 = 2;

/// The gas of a plain transfer.
pub const TRANSFER_GAS: u64 = 21_000;

/// Holds the secp256k1 key of an L1 account.
pub trait TransactionSigner: Send + Sync {
    /// The account's address.
    fn address(&self) -> Address;
    /// Signs a 32-byte hash.
    fn sign_hash(&self, hash: &B256) -> Result<Signature, ChainError>;
}

impl TransactionSigner for EcdsaKey {
    fn address(&self) -> Address {
        self.address()
    }

    fn sign_hash(&self, hash: &B256) -> Result<Signature, ChainError> {
        let bytes = self.sign(*hash);
        let number = |part: &[u8]| U256::from_be_slice(part);
        let [r, s] = [number(&bytes.as_bytes()[..32]), number(&bytes.as_bytes()[32..64])];
        Ok(Signature::new(r, s, bytes.as_bytes()[64] == 28))
    }
}

/// A transaction before it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The id of the chain that it is for.
    pub chain_id: u64,
    /// The transaction's nonce.
    pub nonce: u64,
    /// The most gas that it may use.
    pub gas_limit: u64,
    /// The fees that it offers.
    pub fees: Fees,
    /// The account or contract that is called; `None` creates a contract.
    pub to: Option<Address>,
    /// The ether that goes with it, in wei.
    pub value: U256,
    /// The call's data.
    pub data: Bytes,
}

/// A signed transaction: its bytes to send, and its hash to find it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The transaction's hash.
    pub hash: B256,
    /// The transaction's bytes.
    pub raw: Bytes,
}

impl Draft {
    /// Signs the draft.
    pub fn sign(self, signer: &dyn TransactionSigner) -> Result<Signed, ChainError> {
        let signature = signer.sign_hash(&keccak256(self.encode(None)))?;
        let raw = self.encode(Some(&signature));
        Ok(Signed { hash: keccak256(&raw), raw: raw.into() })
    }

    /// Encodes the transaction as EIP-1559 defines it: its type, then the RLP list of its fields.
    /// Without a signature these are the bytes that are signed.
    fn encode(&self, signature: Option<&Signature>) -> Vec<u8> {
        let to = self.to.map_or(TxKind::Create, TxKind::Call);
        let access_list: Vec<Address> = Vec::new();
        let mut fields: Vec<&dyn Encodable> = vec![
            &self.chain_id,
            &self.nonce,
            &self.fees.priority_fee,
            &self.fees.max_fee,
            &self.gas_limit,
            &to,
            &self.value,
            &self.data,
            &access_list,
        ];
        let parts = signature.map(|signature| (signature.v(), signature.r(), signature.s()));
        if let Some((is_odd, r, s)) = &parts {
            fields.extend([is_odd as &dyn Encodable, r, s]);
        }
        let mut bytes = vec![EIP_1559];
        alloy_rlp::encode_list::<_, dyn Encodable>(&fields, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::transaction::RlpEcdsaEncodableTx;
    use alloy_consensus::{SignableTransaction, TxEip1559};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_transaction_has_the_bytes_that_another_implementation_gives_it(
            (chain_id, nonce, gas_limit) in any::<(u64, u64, u64)>(),
            (max_fee, priority_fee) in any::<(u128, u128)>(),
            to in proptest::option::of(any::<[u8; 20]>()),
            (value, secret) in any::<([u8; 32], [u8; 32])>(),
            data in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let Ok(key) = EcdsaKey::from_slice(&secret) else { return Ok(()) };
            let to = to.map(Address::from);
            let (value, data) = (U256::from_be_bytes(value), Bytes::from(data));
            let fees = Fees { max_fee, priority_fee };
            let draft = Draft { chain_id, nonce, gas_limit, fees, to, value, data: data.clone() };
            let theirs = TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: max_fee,
                max_priority_fee_per_gas: priority_fee,
                to: to.map_or(TxKind::Create, TxKind::Call),
                value,
                access_list: Default::default(),
                input: data,
            };
            let signature = key.sign_hash(&theirs.signature_hash()).unwrap();
            let mut raw = Vec::new();
            theirs.eip2718_encode(&signature, &mut raw);
            let signed = draft.sign(&key).unwrap();
            prop_assert_eq!(&signed.raw[..], &raw[..]);
            prop_assert_eq!(signed.hash, keccak256(&raw));
        }
    }
}
