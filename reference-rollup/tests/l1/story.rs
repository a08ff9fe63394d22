//! Everybody but the users disappears.

use dac_chain::Refusal;
use dac_chain::contracts::{CommitteeRegistry, Settlement};
use reference_rollup::account::AccountIndex;
use reference_rollup::exit::{ExitProof, Owner, exit_proof};
use reference_rollup::field;
use reference_rollup::inbox::{InboxEntry, Withdrawal};
use reference_rollup::l1::{FreezeReason, GWEI, L1Error, RollupReader, RollupRefusal};
use reference_rollup::rebuild::{RebuildError, rebuild};
use reference_rollup::shape::PAYLOAD_BYTES;

use crate::common::{User, transfer, withdrawal};
use crate::world::{FREEZE_DELAY, World, refused, total};

fn owner(user: &User) -> Owner {
    Owner { key: user.key.public(), recipient: user.recipient }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_leave_with_payloads_and_l1_alone() {
    let mut world = World::start().await;
    let reader = world.reader();
    let (alice, bob, carol) = (world.user(1), world.user(2), world.user(3));
    assert_eq!(
        reader.status().await.unwrap().state_root,
        field::to_b256(world.sequencer.state().root()),
        "the contract begins with the empty state"
    );

    // In, and one batch.
    world.rollup(1).deposit(alice.id(), 1_000).await.unwrap();
    world.rollup(1).deposit(bob.id(), 500).await.unwrap();
    let first = world.batch(2, &[world.sign(&alice, transfer(1, 0, 2, 100))]).await;
    let proof = world.prove(&first);
    world.settle(&first, &proof).await;
    let stale = exit_proof(world.sequencer.state(), AccountIndex(1), &owner(&alice)).unwrap();

    // Bob asks on L1 for what he has, Alice withdraws as usual, Carol comes in.
    let index_out_of_range = world.rollup(2).request_exit(bob.key.public(), AccountIndex(65_536)).await;
    assert!(matches!(refused(index_out_of_range), RollupRefusal::AccountIndex { got: 65_536, .. }));
    world.rollup(2).request_exit(bob.key.public(), AccountIndex(2)).await.unwrap();
    world.rollup(3).deposit(carol.id(), 77).await.unwrap();
    let transactions = [
        world.sign(&alice, transfer(1, 1, 3, 50)),
        world.sign(&alice, withdrawal(1, 2, alice.recipient, 300)),
    ];
    let second = world.batch(2, &transactions).await;
    let proof = world.prove(&second);
    world.settle(&second, &proof).await;
    claims(&world, &second.batch.withdrawals()).await;

    // Carol deposits once more. The owner pauses, and nobody serves anything any more.
    world.rollup(3).deposit(carol.id(), 23).await.unwrap();
    world.rollup(0).pause().await.unwrap();
    let paused = refused(world.rollup(3).deposit(carol.id(), 1).await);
    assert_eq!(paused, RollupRefusal::Common(Refusal::of(&CommitteeRegistry::EnforcedPause {})));
    world.rollup(1).request_exit(alice.key.public(), AccountIndex(1)).await.unwrap();
    assert_eq!(
        refused(world.rollup(1).freeze().await),
        RollupRefusal::Common(Refusal::of(&Settlement::NoReasonToFreeze {}))
    );
    assert_eq!(
        refused(world.rollup(1).exit(&stale).await),
        RollupRefusal::Common(Refusal::of(&Settlement::NotFrozen {}))
    );
    assert_eq!(
        refused(world.rollup(3).refund_deposit(5).await),
        RollupRefusal::Common(Refusal::of(&Settlement::NotFrozen {}))
    );
    world.anvil.advance(FREEZE_DELAY + 1).await;
    let reason = reader.status().await.unwrap().freeze_reason;
    assert_eq!(reason, Some(FreezeReason::InputUnserved));
    world.rollup(8).freeze().await.unwrap();
    let status = reader.status().await.unwrap();
    assert_eq!((status.frozen_for, status.paused), (Some(FreezeReason::InputUnserved), true));
    let late = world.rollup(1).request_exit(alice.key.public(), AccountIndex(1)).await;
    assert_eq!(refused(late), RollupRefusal::Common(Refusal::of(&Settlement::IsFrozen { reason: 2 })));

    history_is_checked(&world).await;

    // What members gave back, and L1, are enough.
    let read = reader.history(world.deployed.block, |_, _| ()).await.unwrap();
    let state = rebuild(&world.payloads, &read.history).unwrap().state;
    assert_eq!(field::to_b256(state.root()), read.state_root);
    assert_eq!(state.accounts(), world.sequencer.state().accounts());
    let [alices, carols] = [(1, &alice), (3, &carol)]
        .map(|(index, user)| exit_proof(&state, AccountIndex(index), &owner(user)).unwrap());
    assert_eq!((alices.balance, carols.balance), (1_000 - 100 - 50 - 300, 77 + 50));

    // An exit pays the account's recipient, even if a stranger sends it.
    let anyone = world.rollup(8);
    assert!(matches!(refused(anyone.exit(&stale).await), RollupRefusal::StateMismatch { .. }));
    forgeries(&world, &alices).await;
    assert_eq!(Box::pin(world.paid(alice.recipient, anyone.exit(&alices))).await, alices.balance);
    assert_eq!(refused(anyone.exit(&alices).await), RollupRefusal::AlreadyExited { account_index: 1 });
    assert!(reader.exited(1).await.unwrap() && !reader.exited(3).await.unwrap());
    assert_eq!(Box::pin(world.paid(carol.recipient, anyone.exit(&carols))).await, carols.balance);
    let bobs = exit_proof(&state, AccountIndex(2), &owner(&bob)).unwrap();
    assert_eq!(bobs.balance, 0, "he left before");

    // Back: the deposit that no batch took.
    assert_eq!(
        refused(anyone.refund_deposit(4).await),
        RollupRefusal::DepositConsumed { number: 4, consumed: 4 }
    );
    assert_eq!(
        refused(anyone.refund_deposit(6).await),
        RollupRefusal::NothingToRefund { number: 6 },
        "a request"
    );
    assert_eq!(refused(anyone.refund_deposit(7).await), RollupRefusal::NothingToRefund { number: 7 });
    assert_eq!(world.paid(carol.recipient, anyone.refund_deposit(5)).await, 23);
    assert_eq!(refused(anyone.refund_deposit(5).await), RollupRefusal::NothingToRefund { number: 5 });

    assert!(reader.status().await.unwrap().paused, "all of it while paused");
    assert!(world.balance(world.deployed.settlement).await.is_zero(), "everybody has everything");
}

/// Withdrawals are paid once, to their recipients, and only against the whole list.
async fn claims(world: &World, all: &[Withdrawal]) {
    let (bob, alice) = (world.user(2), world.user(1));
    let amounts: Vec<_> = all.iter().map(|withdrawal| (withdrawal.recipient, withdrawal.amount)).collect();
    assert_eq!(amounts, [(bob.recipient, 600), (alice.recipient, 300)]);
    assert_eq!(total(all), 900);
    let anyone = world.rollup(8);
    let mut reversed = all.to_vec();
    reversed.reverse();
    for wrong in [&all[..1], &reversed, &[]] {
        assert!(matches!(
            refused(anyone.claim_withdrawal(2, wrong, 0).await),
            RollupRefusal::WithdrawalsMismatch { .. }
        ));
    }
    assert!(matches!(
        refused(anyone.claim_withdrawal(1, all, 0).await),
        RollupRefusal::WithdrawalsMismatch { .. }
    ));
    assert!(matches!(
        refused(anyone.claim_withdrawal(2, all, 2).await),
        RollupRefusal::NoSuchWithdrawal { .. }
    ));
    assert_eq!(world.paid(bob.recipient, anyone.claim_withdrawal(2, all, 0)).await, 600);
    assert!(matches!(
        refused(anyone.claim_withdrawal(2, all, 0).await),
        RollupRefusal::AlreadyClaimed { batch_number: 2, .. }
    ));
    assert_eq!(world.paid(alice.recipient, anyone.claim_withdrawal(2, all, 1)).await, 300);
    assert!(world.reader().claimed(2, 1).await.unwrap());
}

/// Every field of a proof matters to the contract, and native checks say the same.
async fn forgeries(world: &World, good: &ExitProof) {
    let root = world.reader().status().await.unwrap().state_root;
    let mallory = world.user(7).recipient;
    let mutations: [&dyn Fn(&mut ExitProof); 7] = [
        &|proof| proof.balance += 1,
        &|proof| proof.nonce += 1,
        &|proof| proof.account_index = 3,
        &|proof| proof.recipient = mallory,
        &|proof| proof.key_x += alloy_primitives::U256::ONE,
        &|proof| proof.siblings[7][2] += alloy_primitives::U256::ONE,
        &|proof| proof.inbox_head += alloy_primitives::U256::ONE,
    ];
    for (number, mutate) in mutations.iter().enumerate() {
        let mut forged = *good;
        mutate(&mut forged);
        let native = forged.state_root().unwrap();
        assert!(forged.check(root).is_err(), "mutation {number}");
        let RollupRefusal::StateMismatch { got, state_root } = refused(world.rollup(7).exit(&forged).await)
        else {
            panic!("mutation {number}");
        };
        assert_eq!((got, state_root), (native, root), "mutation {number}: both compute the same");
    }
    // The same leaf by another name.
    let order = alloy_primitives::U256::from_be_bytes(dac_types::BN254_ORDER.0);
    let alias = ExitProof { key_x: good.key_x + order, ..*good };
    let refusal = refused(world.rollup(7).exit(&alias).await);
    assert_eq!(refusal, RollupRefusal::NotInField { value: good.key_x + order });
    let around = ExitProof { account_index: good.account_index + 65_536, ..*good };
    assert!(matches!(refused(world.rollup(7).exit(&around).await), RollupRefusal::AccountIndex { .. }));
}

/// Payloads and events that do not fit are noticed.
async fn history_is_checked(world: &World) {
    let read = world.reader().history(world.deployed.block, |_, _| ()).await.unwrap();
    let entries: Vec<_> = read.history.inbox.iter().map(|record| record.entry).collect();
    assert_eq!(entries.len(), 6);
    assert!(matches!(entries[0], InboxEntry::Deposit { amount: 1_000, .. }));
    assert!(matches!(entries[2], InboxEntry::Exit { index: AccountIndex(2), .. }));
    let consumed: Vec<_> = read.history.batches.iter().map(|batch| batch.inputs_consumed).collect();
    assert_eq!(consumed, [2, 4]);
    let waiting = world.reader().inbox_entry(5).await.unwrap();
    assert_eq!((waiting.account, waiting.gwei), (world.user(3).recipient, 23));

    // From a block that is too late, the events are not all there.
    let late = world.reader().history(read.as_of.number, |_, _| ()).await;
    assert!(matches!(late, Err(L1Error::Incomplete { .. })), "{late:?}");
    let nothing = RollupReader::new(world.anvil.endpoints(), world.user(7).recipient);
    assert!(matches!(nothing.status().await, Err(L1Error::Chain(dac_chain::ChainError::NoContract { .. }))));

    let mut payloads = world.payloads.clone();
    payloads.insert(2, vec![0; PAYLOAD_BYTES]);
    let wrong = rebuild(&payloads, &read.history).map(|_| ());
    assert!(matches!(wrong, Err(RebuildError::WrongRoot { batch: 2, .. })), "{wrong:?}");
    payloads.remove(&2);
    let digest = read.history.batches[1].digest;
    let missing = rebuild(&payloads, &read.history).map(|_| ());
    assert_eq!(missing, Err(RebuildError::MissingPayload { batch: 2, digest }));
    assert_eq!(GWEI, 1_000_000_000);
}
