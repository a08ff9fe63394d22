//! The parts of L1's requests and answers that are used here.

use alloy::primitives::{Address, B256, Bytes, U64, U256};
use serde::Deserialize;
use serde_json::{Value, json};

/// The parts of a block that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// The block's time, in Unix seconds.
    pub timestamp: u64,
}

/// A block and its base fee, which bounds the base fee of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The block.
    pub block: BlockRef,
    /// The block's base fee, in wei per gas.
    pub base_fee: u128,
}

/// The result of a transaction that was included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction's hash.
    pub tx_hash: B256,
    /// The number of the block that includes it.
    pub block: u64,
    /// The hash of that block.
    pub block_hash: B256,
    /// Whether it ran without failing.
    pub success: bool,
    /// The gas that it used.
    pub gas_used: u64,
    /// The contract that it created, if any.
    pub contract: Option<Address>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Latest,
    Pending,
    Number(u64),
    Hash(B256),
}

impl At {
    pub(super) fn to_json(self) -> Value {
        match self {
            Self::Latest => json!("latest"),
            Self::Pending => json!("pending"),
            Self::Number(number) => json!(U64::from(number)),
            Self::Hash(hash) => json!({ "blockHash": hash }),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) from: Option<Address>,
    /// The contract that is called; `None` creates a contract.
    pub(crate) to: Option<Address>,
    /// The value in wei.
    pub(crate) value: U256,
    pub(crate) data: Bytes,
}

impl Call {
    pub(crate) fn view(to: Address, data: Vec<u8>) -> Self {
        Self { from: None, to: Some(to), value: U256::ZERO, data: data.into() }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut object = json!({ "input": self.data });
        if let Some(from) = self.from {
            object["from"] = json!(from);
        }
        if let Some(to) = self.to {
            object["to"] = json!(to);
        }
        if !self.value.is_zero() {
            object["value"] = json!(self.value);
        }
        object
    }
}

#[derive(PartialEq, Eq, Deserialize)]
pub(crate) struct Log {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
    #[serde(rename = "blockNumber")]
    pub(crate) block: Option<U64>,
    /// The log's index within the block.
    #[serde(rename = "logIndex")]
    pub(crate) index: Option<U64>,
    #[serde(rename = "transactionHash")]
    pub(crate) tx_hash: Option<B256>,
    #[serde(default)]
    pub(crate) removed: bool,
}
