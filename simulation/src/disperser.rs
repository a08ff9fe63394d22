//! The production aggregator on a simulated host, and the rollup that submits to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_aggregator::aggregator::{Aggregator, Capacity, Parts};
use dac_aggregator::config::LimitsConfig;
use dac_aggregator::context::Settings;
use dac_aggregator::grpc::ServiceLimits;
use dac_aggregator::members::CallSettings;
use dac_aggregator::post::PostSettings;
use dac_chain::{EcdsaKey, Follower, TransactionSigner};
use dac_client::{AggregatorClient, SubmissionBuilder, SubmitOptions};
use dac_poster::PosterConfig;
use dac_runtime::grpc::ListenerLimits;
use dac_runtime::service::Listener;
use dac_runtime::workers::Workers;
use dac_types::{HashKind, SignedSubmission, keccak256};
use tokio_util::sync::CancellationToken;

use crate::cast::{AGGREGATOR, Cast, DOMAIN, LOG, NOW, ROLLUP, SUBMIT_PORT};
use crate::clock::SimulatedClock;
use crate::l1::{BLOCK_TIME, ChainView};
use crate::member::POLL_INTERVAL;
use crate::network::{dialer, listen};
use crate::store::AggregatorMemory;
use crate::witness::Witness;

/// Number of blocks, including the one with a record, after which the record is final for the
/// aggregator.
pub(crate) const CONFIRMATIONS: u8 = 4;
/// How long a stop waits for running calls. It has no effect, because the aggregator is killed.
const GRACE: Duration = Duration::from_secs(1);
/// How long members must keep the batches, in seconds.
const KEPT_SECONDS: u64 = 24 * 3600;

/// The parts of the aggregator that outlive its process.
#[derive(Clone)]
pub(crate) struct Disperser {
    pub(crate) cast: Arc<Cast>,
    pub(crate) store: AggregatorMemory,
    pub(crate) l1: ChainView,
    pub(crate) clock: SimulatedClock,
}

impl Disperser {
    /// Runs the aggregator until the host is killed.
    pub(crate) async fn run(self) -> turmoil::Result {
        self.store.open();
        let registry = Follower::spawn(Arc::new(self.l1.clone()), POLL_INTERVAL, 0, CancellationToken::new());
        registry.wait_ready().await?;
        let parts = Parts {
            domain: DOMAIN,
            signer: Arc::new(self.cast.disperser.clone()),
            l1_signer: Arc::new(self.cast.payer.clone()),
            may_post: Arc::new(true.into()),
            store: Arc::new(self.store),
            registry,
            l1: Arc::new(self.l1),
            poster: PosterConfig {
                confirmations: CONFIRMATIONS.into(),
                poll_interval: BLOCK_TIME,
                bump_after_blocks: 3,
                ..PosterConfig::new(DOMAIN, LOG)
            },
            clock: Arc::new(self.clock),
            workers: Workers::inline(),
            dialer: dialer(),
            calls: CallSettings {
                calls_max: 256,
                calls_per_member: 8,
                call_timeout: Duration::from_millis(1500),
                retry_initial: Duration::from_millis(50),
                retry_max: Duration::from_millis(400),
                straggler_retry_max: Duration::from_millis(800),
                shows_certificate: false,
            },
            posting: PostSettings { deadline: Duration::from_secs(5), retry: Duration::from_millis(300) },
            settings: Settings {
                registry_max_age: Duration::from_secs(4),
                grace: Duration::from_millis(150),
                tick: Duration::from_millis(250),
                piece_timeout: Duration::from_secs(1),
                upload_rate: 1 << 10,
                upload_timeout: Duration::from_secs(2),
                hold_up: Duration::from_secs(1),
                share_interval: Duration::from_millis(500),
            },
            renewal: None,
            capacity: Capacity {
                in_flight_bytes: 1 << 24,
                parked_bytes: 1 << 26,
                encoded_bytes: 1 << 26,
                straggler_bytes: 1 << 24,
                encoders: 2,
            },
            service: ServiceLimits { uploads: 16, watchers: 64, reads: LimitsConfig::default().reads() },
            grpc: Listener {
                socket: listen(SUBMIT_PORT).await?,
                limits: ListenerLimits::default(),
                tls: None,
            },
            monitor: None,
        };
        let mut aggregator = Aggregator::start(parts, GRACE).await?;
        Err(aggregator.failed().await.into())
    }
}

/// A batch that the rollup will submit.
#[derive(Clone)]
pub(crate) struct Order {
    /// Time of the submission since the start.
    pub(crate) at: Duration,
    pub(crate) number: u64,
    pub(crate) payload: Bytes,
    pub(crate) is_checked: bool,
}

impl Order {
    /// Returns the order, signed by the rollup's poster. It is the same each time.
    pub(crate) fn sign(&self, cast: &Cast) -> SignedSubmission {
        let kind = if self.is_checked { HashKind::Keccak256 } else { HashKind::Opaque };
        let sign = |digest| {
            <EcdsaKey as TransactionSigner>::sign_hash(&cast.poster, &digest)
                .map(|signature| signature.as_bytes())
        };
        SubmissionBuilder::new(DOMAIN, ROLLUP, self.number, cast.disperser.address(), NOW)
            .hash_kind(kind)
            .batch_hash(keccak256(&self.payload))
            .expires_at(NOW + KEPT_SECONDS)
            .sign(&self.payload, sign)
            .expect("an order in good order")
    }
}

/// Runs the rollup's sequencer, which submits each batch until it is accepted.
pub(crate) async fn sequence(cast: Arc<Cast>, orders: Arc<Vec<Order>>, witness: Witness) -> turmoil::Result {
    let url = format!("http://{AGGREGATOR}:{SUBMIT_PORT}");
    let client = Arc::new(AggregatorClient::new(url.parse()?, dialer()));
    for order in orders.iter().cloned() {
        let (client, cast, witness) = (Arc::clone(&client), Arc::clone(&cast), witness.clone());
        tokio::spawn(async move {
            tokio::time::sleep(order.at).await;
            let signed = order.sign(&cast);
            let options = SubmitOptions {
                retry_for: Duration::from_secs(60),
                answer: Duration::from_millis(1200),
                ..SubmitOptions::default()
            };
            match client.submit(&DOMAIN, &signed, &order.payload, options, |_| {}).await {
                Ok(_) => witness.accepted(signed.submission.digest(&DOMAIN), order.payload),
                Err(error) => witness.broken(format!("batch {} was never taken: {error}", order.number)),
            }
        });
    }
    futures::future::pending().await
}
