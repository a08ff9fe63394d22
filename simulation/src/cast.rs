//! The participants, all derived from the seed: the committee's keys, the rollup, the aggregator,
//! and the content of the registry.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dac_bls::{CommitteeKeys, SecretKey};
use dac_chain::{BlockRef, EcdsaKey, RegistryView};
use dac_types::{Address, AdmittedRollup, Committee, Domain, Member, Quorum, Seat, keccak256};

/// Start of the simulation in Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
/// Chain id and registry address of the simulation.
pub(crate) const DOMAIN: Domain = Domain { chain_id: 31337, registry: Address::repeat_byte(0xaa) };
/// Address of the certificate log.
pub(crate) const LOG: Address = Address::repeat_byte(0xbb);
/// Address of the rollup's settlement contract.
pub(crate) const ROLLUP: Address = Address::repeat_byte(0x11);
/// The rollup's longest retention in seconds.
const RETENTION_SECONDS: u64 = 30 * 24 * 3600;
/// The only epoch of a simulation.
const EPOCH: u64 = 1;
/// Port on which members accept shards from aggregators.
pub(crate) const DISPERSAL_PORT: u16 = 7001;
/// Port on which members serve shards and records to everyone.
pub(crate) const RETRIEVAL_PORT: u16 = 7002;
/// Port on which the aggregator accepts batches from rollups.
pub(crate) const SUBMIT_PORT: u16 = 7003;
/// Name of the aggregator's host.
pub(crate) const AGGREGATOR: &str = "aggregator";
/// Name of the host that retrieves batches.
pub(crate) const AUDITOR: &str = "auditor";
/// Name of the rollup's host.
pub(crate) const SEQUENCER: &str = "sequencer";

/// Returns the name of a member's host.
pub(crate) fn host(seat: Seat) -> String {
    format!("member{}", seat.0)
}

/// The keys of all participants, and the committee.
pub(crate) struct Cast {
    pub(crate) quorum: Quorum,
    pub(crate) members: Vec<SecretKey>,
    pub(crate) committee: Arc<Committee>,
    pub(crate) keys: CommitteeKeys,
    pub(crate) poster: EcdsaKey,
    pub(crate) disperser: EcdsaKey,
    pub(crate) payer: EcdsaKey,
}

impl Cast {
    /// Derives the participants from the seed.
    pub(crate) fn new(seed: u64, quorum: Quorum) -> Self {
        let draw =
            |role: &str, index: u8| keccak256([role.as_bytes(), &[index], &seed.to_be_bytes()].concat());
        let account = |role: &str| {
            EcdsaKey::from_slice(draw(role, 0).as_slice()).expect("a hash is a key but for one in 2^128")
        };
        let members: Vec<SecretKey> = Seat::all(quorum.geometry().n())
            .map(|seat| SecretKey::derive(&draw("member", seat.0).0))
            .collect();
        let seats = Seat::all(quorum.geometry().n()).zip(&members);
        let described = seats
            .map(|(seat, key)| Member {
                operator: Address::from_word(draw("operator", seat.0)),
                public_key: key.public_key().to_compressed(),
                dispersal_url: format!("http://{}:{DISPERSAL_PORT}", host(seat)),
                retrieval_url: format!("http://{}:{RETRIEVAL_PORT}", host(seat)),
            })
            .collect();
        let committee = Committee::new(EPOCH, quorum, described, NOW - 1000, u64::MAX, u64::MAX);
        let committee = Arc::new(committee.expect("keys drawn from a hash differ"));
        Self {
            quorum,
            keys: CommitteeKeys::new(&committee).expect("keys of our own making"),
            members,
            committee,
            poster: account("poster"),
            disperser: account("disperser"),
            payer: account("payer"),
        }
    }

    /// Returns the content of the registry as of a block.
    pub(crate) fn view(&self, head: BlockRef) -> RegistryView {
        let rollup = AdmittedRollup {
            rollup: ROLLUP,
            poster: self.poster.address(),
            retention_max_seconds: RETENTION_SECONDS,
            daily_payload_bytes: 1 << 40,
        };
        RegistryView {
            chain_id: DOMAIN.chain_id,
            registry: DOMAIN.registry,
            head,
            committees: BTreeMap::from([(EPOCH, Arc::clone(&self.committee))]),
            current_epoch: Some(EPOCH),
            rollups: HashMap::from([(ROLLUP, rollup)]),
            paused: false,
        }
    }
}
