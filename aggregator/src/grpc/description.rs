//! `AggregatorService`: tells the identity and the health of this aggregator, and which members and
//! rollups did what no honest one does.

use std::sync::Arc;

use bytes::Bytes;
use dac_chain::amount::GWEI;
use dac_chain::{EndpointsStatus, U256};
use dac_poster::Payer;
use dac_proto::v1;
use dac_proto::v1::aggregator_service_server::AggregatorService;
use dac_runtime::tls;
use tonic::{Request, Response, Status};

use super::readers::Readers;
use super::service::Grpc;
use crate::accusations::Accused;
use crate::batch::Batch;
use crate::batches::Batches;
use crate::convert;

/// Number of members' faults, and of accusations of rollups, that one answer lists at most.
const ENTRIES_MAX: usize = 64;

/// The service over a shared context.
#[derive(Clone)]
pub struct Description {
    batches: Batches,
    readers: Readers,
}

impl Description {
    /// Makes the description of the aggregator whose batches `service` serves. Both services count
    /// a client's requests together.
    pub fn of(service: &Grpc) -> Self {
        Self { batches: service.batches.clone(), readers: service.readers.clone() }
    }
}

#[tonic::async_trait]
impl AggregatorService for Description {
    async fn get_aggregator(
        &self,
        request: Request<v1::GetAggregatorRequest>,
    ) -> Result<Response<v1::GetAggregatorResponse>, Status> {
        let client = self.readers.read(&request)?;
        let ctx = self.batches.context();
        let standing = self.batches.standing();
        let waiting = |batch: &Option<Arc<Batch>>| batch.as_deref().map(convert::waiting_batch_to_wire);
        let (mut faults, mut accusations) = (Vec::new(), Vec::new());
        for line in ctx.accusations.list(usize::MAX) {
            let rollup = match line.accused {
                Accused::Member(operator) => {
                    faults.push(v1::AttributedFault {
                        operator: Bytes::copy_from_slice(operator.as_slice()),
                        kind: line.kind,
                        count: line.count,
                        last_at: line.last_at,
                        detail: line.detail,
                    });
                    continue;
                }
                Accused::Rollup(rollup) => Bytes::copy_from_slice(rollup.as_slice()),
                Accused::Other => Bytes::new(),
            };
            accusations.push(v1::Accusation {
                rollup,
                disperser: Bytes::new(),
                kind: line.kind,
                count: line.count,
                last_at: line.last_at,
                detail: line.detail,
                proven: line.is_proven,
            });
        }
        faults.truncate(ENTRIES_MAX);
        accusations.truncate(ENTRIES_MAX);
        let identity = &ctx.identity;
        let answer = v1::GetAggregatorResponse {
            chain_id: identity.domain.chain_id,
            registry: Bytes::copy_from_slice(identity.domain.registry.as_slice()),
            disperser: Bytes::copy_from_slice(identity.disperser.as_slice()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocols: vec!["dac.v1".to_owned()],
            posts: ctx.posting.is_leading(),
            l1_block: ctx.registry.latest().map_or(0, |view| view.head.number),
            l1_age_seconds: ctx.registry.last_success().map_or(0, |read| read.elapsed().as_secs()),
            faults,
            accusations,
            l1_endpoints: Some(l1_endpoints(ctx.registry.endpoints())),
            uncertified_batches: standing.uncertified,
            oldest_unencoded: waiting(&standing.unencoded),
            oldest_undelivered: waiting(&standing.undelivered),
            oldest_unrecorded: standing
                .overdue(ctx.now_ms())
                .map(|batch| convert::waiting_batch_to_wire(batch)),
            payer: ctx.posting.payer().map(|payer| payer_of(&payer)),
            tls_certificate_expires_at: tls::first_to_expire().unwrap_or(0),
        };
        self.readers.answer(client, Response::new(answer))
    }
}

/// Converts amounts to whole gwei, rounded down. 64 bits hold more gwei than exist.
fn payer_of(payer: &Payer) -> v1::Payer {
    let gwei = |wei: U256| (wei / U256::from(GWEI)).saturating_to::<u64>();
    v1::Payer {
        account: Bytes::copy_from_slice(payer.account.as_slice()),
        balance_gwei: payer.balance.map(gwei),
        next_gwei: gwei(payer.needed),
        hour_gwei: gwei(U256::from(payer.spent)),
        hour_max_gwei: gwei(U256::from(payer.limit)),
        problem: payer.trouble.as_ref().map(ToString::to_string).unwrap_or_default(),
        low: payer.is_low,
        stopped: payer.stopped as u64,
    }
}

fn l1_endpoints(status: EndpointsStatus) -> v1::L1Endpoints {
    let EndpointsStatus { configured, agree, disagreements, undecided, problems, lasting: _ } = status;
    v1::L1Endpoints { configured, agree, disagreements, undecided: undecided.unwrap_or_default(), problems }
}
