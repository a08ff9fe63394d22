//! A disperser that sends to members what a test prescribes, false messages included.

use bytes::Bytes;
use dac_chain::EcdsaKey;
use dac_coding::testing::Dispersal;
use dac_proto::v1;
use dac_types::{
    Attestation, BatchDigest, BatchHeader, BatchSubmission, Domain, HashKind, Record, Seat, SignedSubmission,
};
use futures::{Stream, stream};
use tonic::Status;

use crate::network::Member;
use crate::rollup::Rollup;
use crate::rpc;

/// Makes a header for this submission without commitments.
pub fn header(order: &BatchSubmission, epoch: u64) -> BatchHeader {
    BatchHeader {
        rollup: order.rollup,
        batch_number: order.batch_number,
        epoch,
        expires_at: order.expires_at,
        payload_length: order.payload_length,
        hash_kind: order.hash_kind,
        batch_hash: order.batch_hash,
        shard_root: dac_types::B256::ZERO,
        fingerprints_hash: dac_types::B256::ZERO,
        payload_fingerprint: Vec::new(),
    }
}

/// A dispersal with valid signatures, ready for delivery to every seat.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The shards and commitments.
    pub dispersal: Dispersal,
    /// The header.
    pub header: BatchHeader,
    /// The rollup's signed submission.
    pub order: SignedSubmission,
    /// The key that signs the header.
    pub disperser: EcdsaKey,
    /// The domain in which signatures are valid.
    pub domain: Domain,
}

impl Delivery {
    /// Orders and signs a dispersal as an honest rollup and its disperser would.
    pub fn new(
        rollup: &Rollup,
        disperser: &EcdsaKey,
        number: u64,
        kind: HashKind,
        dispersal: Dispersal,
    ) -> Self {
        let mut order = rollup.order(number, kind, &[]);
        order.payload_length = dispersal.payload_length;
        order.batch_hash = dispersal.batch_hash;
        order.disperser = disperser.address();
        let mut header = header(&order, 1);
        dispersal.fill(&mut header);
        let (disperser, domain) = (disperser.clone(), rollup.domain);
        Self { dispersal, header, order: rollup.signed(order), disperser, domain }
    }

    /// Returns the batch's digest.
    pub fn digest(&self) -> BatchDigest {
        self.header.digest(&self.domain)
    }

    /// Returns the record for this seat, with a signature of the header as it is now.
    pub fn record(&self, seat: Seat) -> Record {
        let signature = self.disperser.sign(self.digest().0);
        self.dispersal.record(seat, self.header.clone(), self.order.clone(), signature)
    }

    /// Returns the first message of a delivery to this seat.
    pub fn open(&self, seat: Seat) -> v1::StoreShardOpen {
        rpc::store_open(&self.domain, seat, (&self.record(seat)).into())
    }

    /// Returns what follows the first message: the shard, or the payload if members check its hash.
    pub fn body(&self, seat: Seat) -> Bytes {
        if self.header.hash_kind.is_checked() {
            return self.dispersal.payload.clone().expect("only honest dispersals are delivered whole");
        }
        self.dispersal.shards[seat.index()].clone()
    }

    /// Delivers to a member, and returns its attestation or refusal.
    pub async fn deliver(&self, member: &Member) -> Result<Attestation, Status> {
        let body = self.body(member.seat);
        send(member, self.open(member.seat), stream::iter(rpc::pieces(&body))).await
    }
}

/// Sends any messages to a member.
pub async fn send(
    member: &Member,
    open: v1::StoreShardOpen,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Attestation, Status> {
    let channel = member.dispersal().map_err(|failure| Status::internal(failure.to_string()))?;
    let attestation = rpc::store_shard(channel, open, pieces).await?;
    Ok(Attestation::try_from(attestation)?)
}
