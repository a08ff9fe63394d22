//! Sends requests of a later version of the protocol to live servers, for every method: unknown
//! fields are ignored, and unknown values are refused by name.

use std::collections::BTreeSet;

use bytes::Bytes;
use dac_chain::EcdsaKey;
use dac_coding::testing;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_tests::disperser::Delivery;
use dac_tests::failure::Context;
use dac_tests::later::{self, LATER_VALUE, Method, Protocol};
use dac_tests::measure::{Measure, Promise};
use dac_tests::network::{Network, Shape, real_payload};
use dac_tests::rollup::{batch_hash, now};
use dac_tests::{Result, configuration, rpc};
use dac_types::{BatchDigest, CoverageRenewal, HashKind, Seat};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Status};

const SEAT: Seat = Seat(1);

/// A valid request of each method, and the server that it goes to.
struct Samples<'a> {
    network: &'a Network,
    payload: Bytes,
    submission: v1::SubmitBatchOpen,
    delivery: Delivery,
    digest: BatchDigest,
}

impl<'a> Samples<'a> {
    /// Makes the requests with a batch that is recorded, and another one that a member has.
    async fn of(network: &'a Network) -> Result<Self> {
        let payload = real_payload(40_000);
        let order = network.rollup.signed(network.rollup.order(1, HashKind::Opaque, &payload));
        let mut submission = rpc::submit_open(&network.domain(), &order);
        // A field with the first value is not encoded.
        submission.posting = v1::PostingMode::Record.into();
        let pieces = futures::stream::iter(rpc::pieces(&payload));
        let batch = rpc::submit(network.api()?, submission.clone(), pieces).await?;
        network.posted(&batch).await?;
        let digest = network.certified(&batch).await?;
        network.members[SEAT.index()].waits_for(digest).await?;
        let dispersal = testing::honest(
            network.committee.quorum.geometry(),
            payload.clone(),
            batch_hash(HashKind::Opaque, &payload),
        )?;
        let disperser = EcdsaKey::random();
        let delivery = Delivery::new(&network.rollup, &disperser, 2, HashKind::Opaque, dispersal);
        delivery.deliver(&network.members[SEAT.index()]).await?;
        Ok(Self { network, payload, submission, delivery, digest })
    }

    fn channel(&self, method: &Method) -> Result<Channel> {
        let member = &self.network.members[SEAT.index()].service;
        match &*method.service {
            "BatchService" | "AggregatorService" => self.network.api(),
            "DispersalService" => member.channel(configuration::DISPERSAL),
            _ => member.channel(configuration::RETRIEVAL),
        }
    }

    /// Returns a method's request. A method without one here fails the test.
    fn requests(&self, method: &Method) -> Result<Vec<Bytes>> {
        let digest = Bytes::copy_from_slice(self.digest.as_bytes());
        let batch = || Some(rpc::by_digest(self.digest));
        let domain = self.network.domain();
        let one = |message: Vec<u8>| vec![Bytes::from(message)];
        Ok(match (&*method.service, &*method.name) {
            ("BatchService", "SubmitBatch") => {
                use v1::submit_batch_request::Message as Part;
                let parts = rpc::pieces(&self.payload).into_iter().map(Part::Piece);
                let parts = [Part::Open(self.submission.clone())].into_iter().chain(parts);
                parts
                    .map(|part| v1::SubmitBatchRequest { message: Some(part) }.encode_to_vec().into())
                    .collect()
            }
            ("BatchService", "GetBatch") => one(v1::GetBatchRequest { batch: batch() }.encode_to_vec()),
            ("BatchService", "WatchBatch") => one(v1::WatchBatchRequest { batch: batch() }.encode_to_vec()),
            ("BatchService", "GetCertificate") => {
                one(v1::GetCertificateRequest { batch: batch() }.encode_to_vec())
            }
            ("BatchService", "ListBatches") => {
                let rollup = Bytes::copy_from_slice(self.network.rollup.address.as_slice());
                let request = v1::ListBatchesRequest { rollup, page_size: 1, page_token: String::new() };
                one(request.encode_to_vec())
            }
            ("BatchService", "SubmitValidityProof") => {
                // This request is refused because of its signature, with and without the later
                // version's additions.
                let request = v1::SubmitValidityProofRequest {
                    batch: batch(),
                    new_state_root: vec![1; 32].into(),
                    inputs_consumed: 1,
                    outputs: vec![2; 32].into(),
                    proof: vec![3; 100].into(),
                    signature: self.delivery.record(SEAT).disperser_signature.as_bytes().to_vec().into(),
                };
                one(request.encode_to_vec())
            }
            ("DispersalService", "StoreShard") => {
                use v1::store_shard_request::Message as Part;
                let parts = rpc::pieces(&self.delivery.body(SEAT)).into_iter().map(Part::Piece);
                let parts = [Part::Open(self.delivery.open(SEAT))].into_iter().chain(parts);
                parts
                    .map(|part| v1::StoreShardRequest { message: Some(part) }.encode_to_vec().into())
                    .collect()
            }
            ("DispersalService", "SignRenewal") => {
                // This request is refused because no batch has settled.
                let renewal = CoverageRenewal {
                    rollup: self.network.rollup.address,
                    last_batch: 1,
                    expires_at: now() + 86_400,
                    epoch: self.network.committee.epoch,
                };
                let request = v1::SignRenewalRequest {
                    chain_id: domain.chain_id,
                    registry: Bytes::copy_from_slice(domain.registry.as_slice()),
                    seat: SEAT.0.into(),
                    renewal: Some((&renewal).into()),
                };
                one(request.encode_to_vec())
            }
            ("RetrievalService", "GetBatchRecord") => {
                one(v1::GetBatchRecordRequest { digest }.encode_to_vec())
            }
            ("RetrievalService", "GetShard") => one(v1::GetShardRequest { digest }.encode_to_vec()),
            ("RetrievalService", "GetChunks") => {
                one(v1::GetChunksRequest { digest, indices: vec![0, 1] }.encode_to_vec())
            }
            ("RetrievalService", "ListBatches") => {
                let request = v1::ListStoredBatchesRequest { page_size: 1, ..Default::default() };
                one(request.encode_to_vec())
            }
            ("AggregatorService", "GetAggregator") => one(v1::GetAggregatorRequest {}.encode_to_vec()),
            ("MemberService", "GetMember") => one(v1::GetMemberRequest {}.encode_to_vec()),
            _ => return Err(dac_tests::Failure::new(format!("no request is known for {method:?}"))),
        })
    }
}

/// Returns the reason of a refusal, or the number of an answer's messages: their times and counts
/// may differ from call to call.
fn outcome(answer: &Result<Vec<Bytes>, Status>) -> Result<usize, (Code, Option<Reason>, String)> {
    match answer {
        Ok(messages) => Ok(messages.len()),
        Err(status) => Err((status.code(), Reason::of(status), status.message().to_owned())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_adds_to_requests_is_ignored() -> Result<()> {
    let mut measure =
        Measure::begin(Promise::LaterVersions, "versions::what_a_later_version_adds_to_requests_is_ignored");
    let (network, protocol) = (Network::start(Shape::SMALL).await?, Protocol::read()?);
    let samples = Samples::of(&network).await?;
    for method in protocol.methods() {
        let (channel, requests) = (samples.channel(method)?, samples.requests(method)?);
        let now = later::call(channel.clone(), method, requests.clone()).await;
        let requests = requests.iter().map(|request| protocol.with_later_fields(method, request));
        let requests = requests.collect::<Result<Vec<_>>>()?;
        let later = later::call(channel, method, requests).await;
        assert_eq!(outcome(&now), outcome(&later), "{method:?}");
        // Two methods are refused, because this network lacks what they need: see their requests.
        let refused = ["SubmitValidityProof", "SignRenewal"].contains(&&*method.name);
        assert_eq!(later.is_err(), refused, "{method:?}: {later:?}");
        measure.tried(1);
    }
    measure.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_only_a_later_version_knows_are_refused_by_name() -> Result<()> {
    let mut measure = Measure::begin(
        Promise::LaterVersions,
        "versions::values_that_only_a_later_version_knows_are_refused_by_name",
    );
    let (network, protocol) = (Network::start(Shape::SMALL).await?, Protocol::read()?);
    let samples = Samples::of(&network).await?;
    let mut tried = BTreeSet::new();
    for method in protocol.methods() {
        let (channel, requests) = (samples.channel(method)?, samples.requests(method)?);
        let mut names = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            for field in protocol.enums(method, request)? {
                let mut requests = requests.clone();
                requests[index] = protocol.with_later_value(method, request, &field)?;
                let refused = later::call(channel.clone(), method, requests).await;
                let refused = refused.err().context(format!("{method:?} took {field:?}"))?;
                assert_eq!(rpc::reason(&refused), Reason::MalformedRequest, "{field:?}: {refused}");
                let says = |text: &str| refused.message().contains(text);
                assert!(says(&field.name) && says(&LATER_VALUE.to_string()), "{field:?}: {refused}");
                tried.insert((method.name.clone(), field.name.clone()));
                measure.tried(1);
                names.push(field.name);
            }
        }
        names.sort();
        assert_eq!(
            names,
            protocol.enum_fields(method),
            "each enumeration of {method:?} stands in its sample"
        );
        // The refused calls do no harm.
        let refused = ["SubmitValidityProof", "SignRenewal"].contains(&&*method.name);
        let again = later::call(channel, method, requests).await;
        assert_eq!(again.is_err(), refused, "{method:?}: {again:?}");
    }
    let expected = [("StoreShard", "hash_kind"), ("SubmitBatch", "hash_kind"), ("SubmitBatch", "posting")];
    assert_eq!(tried, expected.map(|(method, field)| (method.to_owned(), field.to_owned())).into());
    measure.passed();
    Ok(())
}
