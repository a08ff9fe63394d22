//! What users sign on the rollup: transfers and withdrawals.

use alloy_primitives::Address;
use ark_bn254::Fr;
use ark_ff::{Field, PrimeField};
use dac_types::PublicClaim;
use rand_chacha::rand_core::{CryptoRng, RngCore};

use crate::account::AccountIndex;
use crate::field;
use crate::keys::{PublicKey, SecretKey, Signature};
use crate::poseidon;

/// Where a transaction is valid: 16 bytes that stand for chain and settlement contract,
/// `PublicClaim::domain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(pub [u8; 16]);

impl Domain {
    /// Of the rollup with this settlement contract.
    pub fn new(chain_id: u64, settlement: Address) -> Self {
        Self(PublicClaim::domain_of(chain_id, settlement))
    }

    /// Read little-endian, as everywhere in the circuit.
    pub fn element(self) -> Fr {
        Fr::from_le_bytes_mod_order(&self.0)
    }
}

/// Where the money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Another account of the rollup.
    Account(AccountIndex),
    /// An address on L1, which claims it there once the batch is settled.
    L1(Address),
}

/// One transaction, not yet signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Who pays.
    pub from: AccountIndex,
    /// Transactions that the sender has made before this one.
    pub nonce: u32,
    /// Who is paid.
    pub to: Destination,
    /// In gwei.
    pub amount: u64,
}

impl Transaction {
    /// The account that the second half of the slot touches: the receiver, or the sender itself
    /// when it withdraws.
    pub(crate) fn second_account(&self) -> AccountIndex {
        match self.to {
            Destination::Account(index) => index,
            Destination::L1(_) => self.from,
        }
    }

    /// What is signed: Poseidon(domain, from + 2^32·to + 2^64·nonce + 2^96·amount +
    /// 2^160·withdrawal, L1 recipient or 0).
    pub fn message(&self, domain: Domain) -> Fr {
        let low = u128::from(self.from.0)
            | u128::from(self.second_account().0) << 32
            | u128::from(self.nonce) << 64;
        let (withdrawal, recipient) = match self.to {
            Destination::Account(_) => (0_u8, Address::ZERO),
            Destination::L1(address) => (1, address),
        };
        let fields = Fr::from(low) + Fr::from(self.amount) * two_to(96) + Fr::from(withdrawal) * two_to(160);
        poseidon::hash(&[domain.element(), fields, field::from_address(recipient)])
    }

    /// The transaction with its sender's signature.
    pub fn sign(
        self,
        domain: Domain,
        key: &SecretKey,
        recipient: Address,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> SignedTransaction {
        SignedTransaction {
            transaction: self,
            key: key.public(),
            exit_recipient: recipient,
            signature: key.sign(self.message(domain), rng),
        }
    }
}

/// 2^exponent.
pub(crate) fn two_to(exponent: u32) -> Fr {
    Fr::from(2_u8).pow([u64::from(exponent)])
}

/// A transaction with what opens the sender's account id, and its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// What is signed.
    pub transaction: Transaction,
    /// The sender's key.
    pub key: PublicKey,
    /// The other half of the sender's account id: where its exits go.
    pub exit_recipient: Address,
    /// By `key`, over the message.
    pub signature: Signature,
}
