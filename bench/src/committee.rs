//! Committees for benchmarks, whose secret keys are public, and certificates that they sign.

use dac_bls::{CommitteeKeys, SecretKey, Signature};
use dac_coding::testing::{honest, noise};
use dac_types::{Address, B256, BatchHeader, Certificate, Committee, Domain, Geometry, Member, Quorum, Seat};

/// The domain in which the committee's signatures are valid.
pub const DOMAIN: Domain = Domain { chain_id: 31337, registry: Address::repeat_byte(0x11) };

/// A committee with the secret and public keys of all its members.
#[derive(Debug)]
pub struct Signers {
    /// The secret keys in seat order.
    pub secrets: Vec<SecretKey>,
    /// The members' public keys, checked.
    pub keys: CommitteeKeys,
}

impl Signers {
    /// Creates a committee with this number of seats.
    pub fn new(geometry: Geometry) -> Self {
        let (n, k) = (geometry.n(), geometry.k());
        let secrets: Vec<SecretKey> = (0..n).map(secret).collect();
        let quorum = Quorum::new(n, k, n - k + 1).expect("valid");
        let members = secrets.iter().zip(1_u64..).map(|(secret, number)| Member {
            operator: Address::left_padding_from(&number.to_be_bytes()),
            public_key: secret.public_key().to_compressed(),
            dispersal_url: String::new(),
            retrieval_url: String::new(),
        });
        let committee = Committee::new(1, quorum, members.collect(), 0, u64::MAX, u64::MAX);
        let keys = CommitteeKeys::new(&committee.expect("a valid committee")).expect("honest keys");
        Self { secrets, keys }
    }

    /// Returns certificates of this number of batches, which all members signed.
    pub fn certificates(&self, count: u64) -> Vec<Certificate> {
        let geometry = self.keys.quorum().geometry();
        let hash = B256::repeat_byte(1);
        let dispersal = honest(geometry, noise(1, 1000).into(), hash).expect("an honest dispersal");
        let header = dispersal.unsigned_record(Seat(0)).header;
        let certificate = |batch_number| {
            let header = BatchHeader { batch_number, epoch: self.keys.epoch(), ..header.clone() };
            let digest = header.digest(&DOMAIN);
            let signatures: Vec<(Seat, Signature)> = Seat::all(geometry.n())
                .zip(&self.secrets)
                .map(|(seat, secret)| (seat, secret.sign_digest(&digest)))
                .collect();
            let aggregate = self.keys.aggregate(&digest, &signatures).expect("all are honest");
            Certificate { header, aggregate }
        };
        (1..=count).map(certificate).collect()
    }
}

fn secret(seat: u16) -> SecretKey {
    let mut material = [9; 32];
    material[..2].copy_from_slice(&seat.to_be_bytes());
    SecretKey::derive(&material)
}
