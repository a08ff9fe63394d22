//! Certificate and proof in one transaction: what settles, and what is refused before any gas is
//! spent.

use alloy_primitives::U256;
use dac_chain::Refusal;
use dac_chain::contracts::{Settlement, Verifier};
use dac_types::{B256, BN254_ORDER, Transition};
use reference_rollup::field;
use reference_rollup::l1::{FreezeReason, RollupRefusal};

use crate::common::transfer;
use crate::world::{EXIT_WINDOW, FREEZE_DELAY, World, refused};

/// Gas that settling may cost, all told.
const SETTLE_GAS_MAX: u64 = 480_000;

#[tokio::test(flavor = "multi_thread")]
async fn only_the_truth_about_certified_data_settles() {
    let mut world = World::start().await;
    let (alice, bob) = (world.user(1), world.user(2));
    assert!(matches!(
        refused(world.rollup(1).deposit(alice.id(), 0).await),
        RollupRefusal::DepositAmount { amount } if amount.is_zero()
    ));
    let nobody = reference_rollup::account::AccountId::default();
    assert_eq!(
        refused(world.rollup(1).deposit(nobody, 5).await),
        RollupRefusal::AccountIdentity { id: B256::ZERO }
    );
    world.rollup(1).deposit(alice.id(), 1_000).await.unwrap();
    world.rollup(2).deposit(bob.id(), 500).await.unwrap();
    world.rollup(1).deposit(alice.id(), 7).await.unwrap();

    let transactions = [world.sign(&alice, transfer(1, 0, 2, 100)), world.sign(&bob, transfer(2, 0, 1, 1))];
    let first = world.batch(2, &transactions).await;
    let second = world.batch(1, &[world.sign(&alice, transfer(1, 1, 2, 1))]).await;
    let proof = world.prove(&first);
    let certificate = world.certificate(&first, &first.payload).await;
    let truth = first.transition;

    // Another transition than the one that was proved.
    let mut word = truth.new_state_root;
    word.0[31] ^= 1;
    let lies = [
        Transition { new_state_root: word, ..truth },
        Transition { new_state_root: second.transition.new_state_root, ..truth },
        Transition { inputs_consumed: 1, ..truth },
        Transition { inputs_consumed: 3, ..truth },
        Transition { outputs: B256::with_last_byte(1), ..truth },
    ];
    for lie in &lies {
        assert_eq!(
            world.refusal(&certificate, lie, &proof).await,
            Refusal::of(&Verifier::InvalidProof {}),
            "{lie:?}"
        );
    }
    let none = Transition { inputs_consumed: 4, ..truth };
    let refusal = world.refusal(&certificate, &none, &proof).await;
    assert_eq!(refusal, Refusal::of(&Settlement::InputsNotThere { got: 4, limit: 3 }));
    let alias = Transition { new_state_root: BN254_ORDER, ..truth };
    let value = U256::from_be_bytes(BN254_ORDER.0);
    assert_eq!(
        world.refusal(&certificate, &alias, &proof).await,
        Refusal::of(&Verifier::InputNotInField { index: U256::ONE, value })
    );

    // Another proof, or none.
    let (got, expected) = (U256::from(255), U256::from(256));
    let refusal = world.refusal(&certificate, &truth, &proof[..255]).await;
    assert_eq!(refusal, Refusal::of(&Verifier::ProofLength { got, expected }));
    for place in [0, 64, 130, 200] {
        let mut broken = proof.clone();
        broken[place] ^= 1;
        world.refusal(&certificate, &truth, &broken).await;
    }
    world.refusal(&certificate, &truth, &[0; 256]).await;

    // Colluding members certified shards of another payload under the batch's hash.
    let mut other = first.payload.clone();
    other[100] ^= 1;
    let colluding = world.certificate(&first, &other).await;
    assert_eq!(world.refusal(&colluding, &truth, &proof).await, Refusal::of(&Verifier::InvalidProof {}));
    // A payload one longer than what was proved, by a zero.
    let longer = [&first.payload[..], &[0]].concat();
    let certified = world.certificate(&first, &longer).await;
    assert_eq!(world.refusal(&certified, &truth, &proof).await, Refusal::of(&Verifier::InvalidProof {}));

    // Data that does not live long enough for users to leave.
    let short = world.now().await + FREEZE_DELAY + EXIT_WINDOW - 1;
    let certified = world.certificate_until(&first, &first.payload, short);
    let refusal = world.refusal(&certified, &truth, &proof).await;
    let lifetime = refusal.get::<Settlement::LifetimeTooShort>();
    assert!(lifetime.is_some_and(|lifetime| lifetime.expiresAt == short), "{refusal}");

    // Not its turn yet.
    let later = world.certificate(&second, &second.payload).await;
    let refusal = world.refusal(&later, &second.transition, &proof).await;
    assert_eq!(refusal, Refusal::of(&Settlement::BatchNumberSkipped { got: 2, expected: 1 }));

    let receipt = world.settle(&first, &proof).await;
    assert!(receipt.gas_used <= SETTLE_GAS_MAX, "{} gas", receipt.gas_used);
    let refusal = world.refusal(&certificate, &truth, &proof).await;
    assert_eq!(refusal, Refusal::of(&Settlement::BatchAlreadySettled { got: 1, batchCount: 1 }));
    // Now it is its turn, but the proof is of the first.
    let refusal = world.refusal(&later, &second.transition, &proof).await;
    assert_eq!(refusal, Refusal::of(&Verifier::InvalidProof {}));

    let status = world.reader().status().await.unwrap();
    assert_eq!((status.batch_count, status.inputs_consumed, status.inbox_length), (1, 2, 3));
    assert_eq!(status.state_root, truth.new_state_root);
    assert_eq!(field::to_b256(first.batch.after.state_root()), truth.new_state_root);

    let proof = world.prove(&second);
    let receipt = world.settle(&second, &proof).await;
    assert!(receipt.gas_used <= SETTLE_GAS_MAX, "{} gas", receipt.gas_used);
    assert_eq!(world.reader().status().await.unwrap().batch_count, 2);

    // Once frozen, nothing settles, however true.
    assert_eq!(
        refused(world.rollup(8).freeze().await),
        RollupRefusal::Common(Refusal::of(&Settlement::NoReasonToFreeze {}))
    );
    world.anvil.advance(FREEZE_DELAY + 1).await;
    let reason = Some(FreezeReason::NothingSettled);
    assert_eq!(world.reader().status().await.unwrap().freeze_reason, reason);
    world.rollup(8).freeze().await.unwrap();
    assert_eq!(world.reader().status().await.unwrap().frozen_for, reason);
    let third = world.batch(0, &[]).await;
    let certified = world.certificate(&third, &third.payload).await;
    let refusal = world.refusal(&certified, &third.transition, &proof).await;
    assert_eq!(refusal, Refusal::of(&Settlement::IsFrozen { reason: 1 }));
}
