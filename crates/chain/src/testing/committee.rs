//! A committee with known keys on a local chain.

use alloy::primitives::{Address, B256};
use dac_bls::{CheckedRenewal, CommitteeKeys, SecretKey, aggregate_signatures};
use dac_types::EcdsaKey;
use dac_types::{
    AbsentSeats, AdmittedRollup, AggregateAttestation, BatchHeader, Certificate, Committee, CoverageRenewal,
    Domain, HashKind, Member, Quorum, RenewalCertificate, Seat,
};

use super::Anvil;
use crate::admin::{Deployment, RegistryAdmin};

/// The parameters of a committee to set up.
#[derive(Clone, Debug)]
pub struct CommitteeSpec {
    /// The number of seats.
    pub n: u16,
    /// The number of shards that rebuild a batch.
    pub k: u16,
    /// The number of signatures that make a certificate.
    pub q: u16,
    /// The seconds from opening an epoch, other than the first, to its beginning.
    pub activation_delay: u64,
    /// The seconds for which a replaced epoch's certificates can still be posted.
    pub grace: u64,
    /// The dispersal and retrieval URLs by seat; members beyond the end of the list get made-up
    /// ones.
    pub urls: Vec<(String, String)>,
}

impl CommitteeSpec {
    /// A committee of n, k and q, with an activation delay of ten seconds and a grace of an hour.
    pub fn new(n: u16, k: u16, q: u16) -> Self {
        Self { n, k, q, activation_delay: 10, grace: 3_600, urls: Vec::new() }
    }
}

/// A member whose keys are known.
#[derive(Clone, Debug)]
pub struct TestMember {
    /// The operator's L1 key.
    pub operator: EcdsaKey,
    /// The member's BLS key.
    pub secret_key: SecretKey,
    /// The URL at which it receives shards.
    pub dispersal_url: String,
    /// The URL at which it serves shards.
    pub retrieval_url: String,
}

/// A committee on a local chain, with its first epoch open.
#[derive(Clone, Debug)]
pub struct TestCommittee {
    /// The addresses of its contracts.
    pub deployment: Deployment,
    /// The domain in which its signatures are valid.
    pub domain: Domain,
    /// The committee's size and thresholds.
    pub quorum: Quorum,
    /// The registry's owner: anvil's first key.
    pub owner: EcdsaKey,
    /// The members in seat order.
    pub members: Vec<TestMember>,
    /// The number of the open epoch.
    pub epoch: u64,
}

/// Deploys the contracts, registers n members with keys of their own and opens the first epoch with
/// them.
pub async fn deploy_committee(anvil: &Anvil, spec: &CommitteeSpec) -> TestCommittee {
    let quorum = Quorum::new(spec.n, spec.k, spec.q).expect("a possible committee");
    let owner = anvil.key(0);
    let account = anvil.account(owner.clone());
    let deployment = account
        .deploy(owner.address(), spec.activation_delay, spec.grace)
        .await
        .unwrap_or_else(|error| panic!("deploying: {error}"));
    let domain = Domain { chain_id: anvil.chain_id(), registry: deployment.registry };
    let mut committee = TestCommittee { deployment, domain, quorum, owner, members: Vec::new(), epoch: 0 };
    for seat in Seat::all(spec.n) {
        let urls = spec.urls.get(seat.index()).cloned();
        let (dispersal_url, retrieval_url) = urls.unwrap_or_else(|| {
            (format!("http://dispersal-{seat}.example"), format!("http://retrieval-{seat}.example"))
        });
        committee.register(anvil, dispersal_url, retrieval_url).await;
    }
    let operators = committee.operators();
    let (epoch, _) = committee
        .admin(anvil)
        .open_epoch(&operators, spec.k, spec.q)
        .await
        .unwrap_or_else(|error| panic!("opening the first epoch: {error}"));
    TestCommittee { epoch, ..committee }
}

impl TestCommittee {
    /// The registry, called from its owner's account.
    pub fn admin(&self, anvil: &Anvil) -> RegistryAdmin {
        RegistryAdmin::new(anvil.account(self.owner.clone()), self.deployment.registry)
    }

    /// The registry, called from the account of the operator in `seat`.
    pub fn operator(&self, anvil: &Anvil, seat: usize) -> RegistryAdmin {
        RegistryAdmin::new(anvil.account(self.members[seat].operator.clone()), self.deployment.registry)
    }

    /// The owner's address.
    pub fn owner_address(&self) -> Address {
        self.owner.address()
    }

    /// The operators' addresses in seat order.
    pub fn operators(&self) -> Vec<Address> {
        self.members.iter().map(|member| member.operator.address()).collect()
    }

    /// Registers one more member, which gets a seat in the next epoch that is opened with it.
    pub async fn register(
        &mut self,
        anvil: &Anvil,
        dispersal_url: String,
        retrieval_url: String,
    ) -> &TestMember {
        let mut material = [0xda; 32];
        material[..8].copy_from_slice(&(self.members.len() as u64).to_be_bytes());
        let secret_key = SecretKey::derive(&material);
        let operator = EcdsaKey::from_slice(&(material)).expect("a scalar in range");
        anvil.fund(operator.address()).await;
        self.members.push(TestMember { operator, secret_key, dispersal_url, retrieval_url });
        let seat = self.members.len() - 1;
        let member = &self.members[seat];
        let possession = member.secret_key.prove_possession(&self.domain, member.operator.address());
        self.operator(anvil, seat)
            .register(
                &member.secret_key.public_key(),
                &possession,
                &member.dispersal_url,
                &member.retrieval_url,
            )
            .await
            .unwrap_or_else(|error| panic!("registering seat {seat}: {error}"));
        member
    }

    /// Admits a rollup with a batch signer, a month's retention and one gibibyte a day.
    pub async fn admit(&self, anvil: &Anvil, rollup: Address, poster: Address) -> AdmittedRollup {
        let rollup = AdmittedRollup {
            rollup,
            poster,
            retention_max_seconds: 30 * 86_400,
            daily_payload_bytes: 1 << 30,
        };
        self.admin(anvil).admit_rollup(&rollup).await.unwrap_or_else(|error| panic!("admitting: {error}"));
        rollup
    }

    /// A header of this committee that belongs to no payload, for tests that need only the
    /// certificate.
    pub fn header(&self, batch_number: u64, expires_at: u64) -> BatchHeader {
        BatchHeader {
            rollup: Address::repeat_byte(0x11),
            batch_number,
            epoch: self.epoch,
            expires_at,
            payload_length: 1_000,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::repeat_byte(1),
            shard_root: B256::repeat_byte(2),
            fingerprints_hash: B256::repeat_byte(3),
            payload_fingerprint: vec![4; self.quorum.geometry().fingerprint_bytes()],
        }
    }

    /// A renewal signed by all seats except `absent`.
    pub fn certify_renewal(&self, renewal: CoverageRenewal, absent: &[Seat]) -> CheckedRenewal {
        let digest = renewal.digest(&self.domain);
        let n = self.quorum.geometry().n();
        let signers: Vec<Seat> = Seat::all(n).filter(|seat| !absent.contains(seat)).collect();
        let signed = |seat: &Seat| (*seat, self.members[seat.index()].secret_key.sign_digest(&digest));
        let signatures: Vec<_> = signers.iter().map(signed).collect();
        let members = self.members[..usize::from(n)].iter().map(|member| Member {
            operator: member.operator.address(),
            public_key: member.secret_key.public_key().to_compressed(),
            dispersal_url: member.dispersal_url.clone(),
            retrieval_url: member.retrieval_url.clone(),
        });
        let committee = Committee::new(renewal.epoch, self.quorum, members.collect(), 0, u64::MAX, u64::MAX)
            .expect("a good committee");
        let keys = CommitteeKeys::new(&committee).expect("good keys");
        let aggregate = keys.aggregate(&digest, &signatures).expect("good signatures of a quorum");
        keys.verify_renewal(&RenewalCertificate { renewal, aggregate }, &self.domain).expect("a good renewal")
    }

    /// A certificate of a header, signed by all seats except `absent`.
    pub fn certify(&self, header: BatchHeader, absent: &[Seat]) -> Certificate {
        let digest = header.digest(&self.domain);
        let n = self.quorum.geometry().n();
        let signers: Vec<Seat> = Seat::all(n).filter(|seat| !absent.contains(seat)).collect();
        let signatures: Vec<_> =
            signers.iter().map(|seat| self.members[seat.index()].secret_key.sign_digest(&digest)).collect();
        let signature =
            aggregate_signatures(&signatures).expect("signatures of independent keys").to_compressed();
        let absent = AbsentSeats::from_signers(n, &signers);
        Certificate { header, aggregate: AggregateAttestation { absent, signature } }
    }
}
