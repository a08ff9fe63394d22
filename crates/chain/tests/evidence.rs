//! `isSigned` on a real EVM, against the check of this project's Rust, over mutated certificates.

use alloy::primitives::{U256, hex};
use dac_bls::CommitteeKeys;
use dac_chain::contracts::evidence;
use dac_chain::testing::{Anvil, CommitteeSpec, TestCommittee, deploy_committee};
use dac_types::{Committee, HashKind, Member, Seat};

/// How many mutated certificates are compared.
const MUTATIONS: usize = 10_500;
/// Gas with which `isSigned` never reverts.
const GAS: u64 = 1_000_000;

/// A generator of numbers that are the same in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// A certificate of some header that these members may sign, by some of them.
fn signed(committee: &TestCommittee, numbers: &mut Numbers) -> Vec<u8> {
    let mut header = committee.header(numbers.next(), numbers.next());
    // Now and then what no certificate may have, although members signed it.
    match numbers.below(12) {
        0 => header.payload_length = 0,
        1 => header.payload_length = (64 << 20) + numbers.next() % 2,
        2 => header.epoch = numbers.next() % 4,
        3 => header.payload_fingerprint = vec![1; numbers.below(5) * 16],
        4 => header.hash_kind = HashKind::Keccak256,
        5 => header.hash_kind = HashKind::Sha256,
        _ => {}
    }
    let absent: Vec<Seat> = Seat::all(4).filter(|_| numbers.below(5) == 0).collect();
    let absent = if absent.len() == 4 { &absent[..3] } else { &absent[..] };
    evidence::encode(&committee.certify(header, absent)).unwrap().to_vec()
}

/// Changes one thing, or nothing.
fn mutate(mut bytes: Vec<u8>, other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let words = bytes.len() / 32;
    match numbers.below(10) {
        0 | 1 => {}
        2 | 3 => {
            let at = numbers.below(bytes.len());
            bytes[at] ^= 1 << numbers.below(8);
        }
        4 => {
            let at = numbers.below(bytes.len());
            bytes[at] = u8::try_from(numbers.below(256)).unwrap();
        }
        5 => {
            let (one, two) = (32 * numbers.below(words), 32 * numbers.below(words));
            for i in 0..32 {
                bytes.swap(one + i, two + i);
            }
        }
        6 => bytes.truncate(numbers.below(bytes.len())),
        7 => bytes.extend(vec![0; 1 + numbers.below(64)]),
        // Another one's signature, or its whole tail.
        8 => {
            let length = bytes.len().min(other.len());
            let tail = if numbers.below(2) == 0 { 128 } else { 32 * numbers.below(length / 32) };
            let (from, end) = (other.len() - tail, bytes.len());
            bytes[end - tail..].copy_from_slice(&other[from..]);
        }
        // A small integer in a word: offsets, lengths, seats.
        _ => {
            let at = 32 * numbers.below(words);
            bytes[at..at + 32].fill(0);
            bytes[at + 31] = u8::try_from(numbers.below(256)).unwrap();
        }
    }
    bytes
}

fn keys(committee: &TestCommittee) -> CommitteeKeys {
    let members = committee.members.iter().map(|member| Member {
        operator: member.operator.address(),
        public_key: member.secret_key.public_key().to_compressed(),
        dispersal_url: member.dispersal_url.clone(),
        retrieval_url: member.retrieval_url.clone(),
    });
    let committee =
        Committee::new(committee.epoch, committee.quorum, members.collect(), 0, u64::MAX, u64::MAX);
    CommitteeKeys::new(&committee.unwrap()).unwrap()
}

async fn on_chain(anvil: &Anvil, committee: &TestCommittee, encoded: &[u8]) -> bool {
    let call = serde_json::json!({
        "to": committee.deployment.log,
        "data": evidence::is_signed_calldata(encoded),
        // What the call itself costs before it runs is no part of the stated gas.
        "gas": format!("{:#x}", GAS + 21_000 + 40 * encoded.len() as u64 + 10_000),
    });
    let answer = anvil.rpc("eth_call", serde_json::json!([call, "latest"])).await;
    let word = hex::decode(answer.as_str().unwrap()).unwrap();
    match U256::from_be_slice(&word) {
        U256::ZERO => false,
        U256::ONE => true,
        other => panic!("{other} is no bool"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_evm_and_rust_agree_on_mutated_certificates() {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(4, 2, 3)).await;
    let keys = keys(&committee);
    let mut numbers = Numbers(0x0dac_0dac_0dac_0dac);
    // Signing takes long, and mutations of one certificate are as good as those of another.
    let originals: Vec<_> = (0..200).map(|_| signed(&committee, &mut numbers)).collect();
    let mut answers = [0, 0];
    for _ in 0..MUTATIONS {
        let one = originals[numbers.below(originals.len())].clone();
        let other = &originals[numbers.below(originals.len())];
        let encoded = mutate(one, other, &mut numbers);
        let got = on_chain(&anvil, &committee, &encoded).await;
        let expected = evidence::decode(&encoded)
            .is_some_and(|certificate| keys.verify_certificate(&certificate, &committee.domain).is_ok());
        assert_eq!(got, expected, "{}", hex::encode(&encoded));
        answers[usize::from(got)] += 1;
    }
    let [wrong, right] = answers;
    assert!(right > 1_000 && wrong > 5_000, "{right} signed, {wrong} not");
}
