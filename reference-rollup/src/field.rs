//! Field elements of BN254's scalar field as bytes and integers.

use alloy_primitives::{Address, B256, U256};
use ark_bn254::Fr;
use ark_ff::{BigInteger, PrimeField};

/// The element as 32 big-endian bytes, the way L1 holds it.
pub fn to_b256(element: Fr) -> B256 {
    B256::from_slice(&element.into_bigint().to_bytes_be())
}

/// The element of 32 big-endian bytes; `None` where the integer is not below the field's order: L1
/// refuses it too, since it would stand for the same element as a smaller one.
pub fn from_b256(bytes: B256) -> Option<Fr> {
    let element = Fr::from_be_bytes_mod_order(bytes.as_slice());
    (to_b256(element) == bytes).then_some(element)
}

/// The element of 32 little-endian bytes, if they are an integer below the field's order.
pub fn from_le_bytes(bytes: [u8; 32]) -> Option<Fr> {
    let mut bytes = bytes;
    bytes.reverse();
    from_b256(B256::new(bytes))
}

/// The element as 32 little-endian bytes.
pub fn to_le_bytes(element: Fr) -> [u8; 32] {
    let mut bytes = to_b256(element).0;
    bytes.reverse();
    bytes
}

/// The element as an integer.
pub fn to_u256(element: Fr) -> U256 {
    U256::from_be_bytes(to_b256(element).0)
}

/// The integer, below the field's order because it has 160 bits.
pub fn from_address(address: Address) -> Fr {
    Fr::from_be_bytes_mod_order(address.as_slice())
}
