//! The statement: true batches satisfy it, false claims do not, nothing in it is left to choose.
#![allow(missing_docs)]

mod common;

use ark_bn254::Fr;
use ark_ff::PrimeField;
use common::{busy_batch, claim, claim_fields, domain, two_accounts};
use dac_types::{B256, ClaimFields, PublicClaim};
use reference_rollup::batch::{Batch, OpenBatch};
use reference_rollup::circuit::batch::statement;
use reference_rollup::circuit::system::System;
use reference_rollup::prover::public_inputs;
use reference_rollup::state::State;

fn system(batch: &Batch, claim: &PublicClaim) -> System {
    statement(batch, claim, &public_inputs(claim).unwrap()).0
}

#[test]
fn a_batch_satisfies_its_own_claim() {
    let batch = busy_batch();
    let system = system(&batch, &claim(&batch, 5));
    assert_eq!(system.unsatisfied(), None);
}

#[test]
fn the_structure_is_the_same_for_every_batch() {
    let busy = busy_batch();
    let busy = system(&busy, &claim(&busy, 5));
    let mut state = State::default();
    let empty = OpenBatch::new(&mut state, domain()).close();
    let empty = system(&empty, &claim(&empty, 1));
    assert_eq!(empty.unsatisfied(), None);
    assert!(busy.same_structure(&empty));
    assert_eq!(busy.structure_hash(), empty.structure_hash());
}

/// Every variable, changed alone, breaks a constraint: in a batch with something in every kind of
/// slot, and in one with nothing.
#[test]
fn no_variable_is_left_to_choose() {
    let busy = busy_batch();
    let (mut state, ..) = two_accounts();
    let idle = OpenBatch::new(&mut state, domain()).close();
    for batch in [busy, idle] {
        let system = system(&batch, &claim(&batch, 5));
        let values = system.assignment();
        // A bit to its opposite, the only other value that its own constraint allows; everything
        // else by one.
        let one = Fr::from(1_u8);
        let delta = |variable: usize| if values[variable] == one { -one } else { one };
        assert_eq!(system.free_variables(delta), Vec::<usize>::new());
    }
}

#[test]
fn every_field_of_the_claim_is_bound() {
    let batch = busy_batch();
    let truth = claim_fields(&batch, 5);
    // Not the number: the same transition is true under any, until a proof is made for one. See the
    // proofs' tests.
    type Mutation = (&'static str, fn(&mut ClaimFields));
    let mutations: [Mutation; 11] = [
        ("old root", |claim| claim.old_state_root = bumped(claim.old_state_root)),
        ("new root", |claim| claim.new_state_root = bumped(claim.new_state_root)),
        ("chain", |claim| claim.chain_id += 1),
        ("settlement", |claim| claim.settlement = dac_types::Address::repeat_byte(1)),
        ("length + 1: P against P‖0", |claim| claim.payload_length += 1),
        ("length − 1", |claim| claim.payload_length -= 1),
        ("hash", |claim| claim.batch_hash = bumped(claim.batch_hash)),
        ("inputs", |claim| claim.l1_inputs = bumped(claim.l1_inputs)),
        ("outputs", |claim| claim.l1_outputs = bumped(claim.l1_outputs)),
        ("points", |claim| claim.points[17] ^= 1),
        ("fingerprint", |claim| claim.payload_fingerprint[31] ^= 0x80),
    ];
    for (name, mutate) in mutations {
        let mut lie = truth.clone();
        mutate(&mut lie);
        let lie = PublicClaim::new(lie).unwrap();
        assert!(system(&batch, &lie).unsatisfied().is_some(), "{name}");
    }
}

/// The circuit's own witness of the context follows the claim, so that a lie fails where it
/// matters; a prover who tells the context's bits as they were and lies in the public inputs only
/// fails too.
#[test]
fn public_inputs_are_bound_one_by_one() {
    let batch = busy_batch();
    let claim = claim(&batch, 5);
    let truth = public_inputs(&claim).unwrap();
    for input in 0..truth.len() {
        let mut lie = truth.clone();
        lie[input] += Fr::from(1_u8);
        assert!(statement(&batch, &claim, &lie).0.unsatisfied().is_some(), "input {input}");
    }
}

fn bumped(hash: B256) -> B256 {
    let element = Fr::from_be_bytes_mod_order(hash.as_slice()) + Fr::from(1_u8);
    reference_rollup::field::to_b256(element)
}
