//! The shared vectors, in Rust and in the circuit. `contracts/test` holds the Solidity libraries to
//! the same file.
#![allow(missing_docs)]

use alloy_primitives::B256;
use ark_bn254::Fr;
use reference_rollup::circuit;
use reference_rollup::circuit::system::{System, Wire};
use reference_rollup::{field, poseidon};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    inputs: Vec<B256>,
    hash: B256,
}

#[test]
fn all_three_hash_alike() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../vectors/poseidon-v1.json")).unwrap();
    assert!(vectors.len() > 10);
    for Vector { inputs, hash } in vectors {
        let inputs: Vec<Fr> = inputs.into_iter().map(|input| field::from_b256(input).unwrap()).collect();
        assert_eq!(field::to_b256(poseidon::hash(&inputs)), hash);

        let (mut system, wires) = System::new(&inputs);
        let wires: Vec<&Wire> = wires.iter().collect();
        let digest = circuit::poseidon::hash(&mut system, &wires);
        assert_eq!(field::to_b256(digest.value()), hash);
        assert_eq!(system.unsatisfied(), None);
    }
}
