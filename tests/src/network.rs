//! A complete system on this machine: a chain, a committee's contracts, `dac-node` processes and a
//! `dac-aggregator`, each behind a gate, so that its address stays the same over restarts and its
//! network can fail.

mod plan;
mod service;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_bls::SecretKey;
use dac_chain::EcdsaKey;
use dac_chain::testing::{Anvil, CommitteeSpec, TestCommittee, deploy_committee};
use dac_client::files::Deployment;
use dac_proto::v1;
use dac_types::{Address, B256, BatchDigest, Domain, HashKind, Seat};
use futures::stream;
use tempfile::TempDir;
use tokio::process::Command;
use tonic::Status;
use tonic::transport::Channel;

pub use self::plan::{NetworkTls, Plan, Shape};
pub use self::service::Service;
use crate::configuration::{self, Tls};
use crate::failure::{Context, Failure, Result};
use crate::gate::{Gate, Mode};
use crate::keys;
use crate::process::program;
use crate::rollup::Rollup;
use crate::rpc;
use crate::wait;

/// The address of the rollup. There is no contract: the service needs only the address.
const ROLLUP: Address = Address::repeat_byte(0x11);

/// A member of the committee.
pub struct Member {
    /// The member's seat.
    pub seat: Seat,
    /// The member's process.
    pub service: Service,
}

impl Member {
    /// Returns a channel to the listener for aggregators.
    pub fn dispersal(&self) -> Result<Channel> {
        self.service.channel(configuration::DISPERSAL)
    }

    /// Returns a channel to the listener for retrieval.
    pub fn retrieval(&self) -> Result<Channel> {
        self.service.channel(configuration::RETRIEVAL)
    }

    /// Returns whether the member stores this batch.
    pub async fn has(&self, digest: BatchDigest) -> Result<bool> {
        Ok(rpc::stored(self.retrieval()?).await?.contains(&digest))
    }

    /// Waits until the member stores this batch.
    pub async fn waits_for(&self, digest: BatchDigest) -> Result<()> {
        let what = format!("seat {} to store {digest}", self.seat);
        let probe = async || self.has(digest).await.is_ok_and(|has| has).then_some(());
        wait::until(&what, wait::LIMIT, probe).await
    }
}

/// The complete system. Fields are dropped in order: the processes before the chain, the folder
/// last.
pub struct Network {
    /// The aggregator.
    pub aggregator: Service,
    /// Further aggregator processes over the same database.
    pub more_aggregators: Vec<Service>,
    /// The members, in seat order.
    pub members: Vec<Member>,
    /// The gate through which the processes reach the chain.
    pub l1: Gate,
    /// The committee's contracts and keys.
    pub committee: TestCommittee,
    /// The chain.
    pub anvil: Anvil,
    /// A rollup that is admitted.
    pub rollup: Rollup,
    shape: Shape,
    folder: TempDir,
}

impl Network {
    /// Starts the system and waits until all members and the aggregator see the committee.
    pub async fn start(shape: Shape) -> Result<Self> {
        Self::start_with(shape, &NetworkTls::default()).await
    }

    /// Starts the system with TLS.
    pub async fn start_with(shape: Shape, tls: &NetworkTls) -> Result<Self> {
        Self::start_as(shape, &Plan { tls: tls.clone(), ..Plan::default() }).await
    }

    /// Starts the system as the plan says.
    pub async fn start_as(shape: Shape, plan: &Plan) -> Result<Self> {
        let mut this = Self::prepare_as(shape, plan).await?;
        for member in &mut this.members {
            member.service.start().await?;
        }
        for service in this.aggregators_mut() {
            service.start().await?;
        }
        Ok(this)
    }

    /// Returns all aggregator processes.
    pub fn aggregators(&self) -> impl Iterator<Item = &Service> {
        std::iter::once(&self.aggregator).chain(&self.more_aggregators)
    }

    /// Returns all aggregator processes.
    pub fn aggregators_mut(&mut self) -> impl Iterator<Item = &mut Service> {
        std::iter::once(&mut self.aggregator).chain(&mut self.more_aggregators)
    }

    /// Returns channels to all aggregator processes.
    pub fn apis(&self) -> Result<Vec<Channel>> {
        self.aggregators().map(|service| service.channel(configuration::API)).collect()
    }

    /// Admits another rollup, with its own batch signer.
    pub async fn admit(&self, address: Address) -> Rollup {
        let poster = EcdsaKey::random();
        self.committee.admit(&self.anvil, address, poster.address()).await;
        Rollup { address, poster, ..self.rollup.clone() }
    }

    /// Prepares the system without starting a process except the chain.
    pub async fn prepare(shape: Shape) -> Result<Self> {
        Self::prepare_as(shape, &Plan::default()).await
    }

    /// Prepares the system as the plan says.
    pub async fn prepare_as(shape: Shape, plan: &Plan) -> Result<Self> {
        let tls = &plan.tls;
        let folder = TempDir::with_prefix("dac-network-").context("a temporary folder")?;
        let anvil = Anvil::start().await;
        let l1 = Gate::new().await?;
        l1.set(Mode::Open(SocketAddr::from(([127, 0, 0, 1], anvil.port()))));
        let mut gates = Vec::new();
        let mut spec = CommitteeSpec::new(shape.n, shape.k, shape.q);
        for _ in 0..shape.n {
            let (dispersal, retrieval) = (plan.gate().await?, plan.gate().await?);
            spec.urls.push((tls.dispersal.url(&dispersal), tls.retrieval.url(&retrieval)));
            gates.push(vec![(configuration::DISPERSAL, dispersal), (configuration::RETRIEVAL, retrieval)]);
        }
        let committee = deploy_committee(&anvil, &spec).await;
        let (disperser, poster) = (EcdsaKey::random(), EcdsaKey::random());
        anvil.fund(disperser.address()).await;
        committee.admit(&anvil, ROLLUP, poster.address()).await;
        let rollup =
            Rollup { domain: committee.domain, address: ROLLUP, poster, disperser: disperser.address() };

        let facts =
            configuration::L1 { url: l1.url(), domain: committee.domain, log: committee.deployment.log };
        let mut members = Vec::new();
        for (seat, gates) in Seat::all(shape.n).zip(gates) {
            let name = format!("member-{seat}");
            let folder = folder.path().join(&name);
            let database = plan.database(shape.backend, &name).await?;
            let key = keys::bls(&folder, &committee.members[seat.index()].secret_key)?;
            let config = configuration::write_node(
                &folder,
                &facts,
                database.options(),
                &key,
                &tls.dispersal,
                &tls.retrieval,
            )?;
            plan.listen(&config, &gates)?;
            configuration::change(&config, &plan.node)?;
            let program = program("dac-node")?;
            let service = Service::new(name, program, folder, config, gates, database);
            members.push(Member { seat, service });
        }
        let database = plan.database(shape.backend, "aggregator").await?;
        let mut aggregators = Vec::new();
        for place in 0..=plan.more_aggregators {
            let name = if place == 0 { "aggregator".to_owned() } else { format!("aggregator-{place}") };
            let folder = folder.path().join(&name);
            let key = keys::ethereum(&folder, &disperser)?;
            let config = configuration::write_aggregator(
                &folder,
                &facts,
                database.options(),
                &key,
                shape.confirmations,
                &tls.aggregator,
                &tls.towards_members,
            )?;
            let gates = vec![(configuration::API, plan.gate().await?)];
            plan.listen(&config, &gates)?;
            configuration::change(&config, &plan.aggregator)?;
            let (program, database) = (program("dac-aggregator")?, Arc::clone(&database));
            aggregators.push(Service::new(name, program, folder, config, gates, database));
        }
        let aggregator = aggregators.remove(0);
        let more_aggregators = aggregators;
        Ok(Self { aggregator, more_aggregators, members, l1, committee, anvil, rollup, shape, folder })
    }

    /// Returns the numbers and settings that the system was started with.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the file that tells programs of this network: its contracts and where L1 answers.
    pub fn deployment(&self) -> Deployment {
        let contracts = &self.committee.deployment;
        Deployment {
            rpc_url: Some(self.l1.url()),
            chain_id: self.domain().chain_id,
            registry: contracts.registry,
            certificate_log: contracts.log,
            deployed_at_block: contracts.block,
        }
    }

    /// Returns the chain and the registry.
    pub fn domain(&self) -> Domain {
        self.committee.domain
    }

    /// Returns the folder for files that a test writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Prepares a node with this key, its own gates and its own store. It has no seat yet and is
    /// not started.
    pub async fn newcomer(&self, name: &str, key: &SecretKey) -> Result<Service> {
        let folder = self.folder.path().join(name);
        let l1 = configuration::L1 {
            url: self.l1.url(),
            domain: self.domain(),
            log: self.committee.deployment.log,
        };
        let database = Plan::default().database(self.shape.backend, name).await?;
        let key = keys::bls(&folder, key)?;
        let tls = Tls::default();
        let config = configuration::write_node(&folder, &l1, database.options(), &key, &tls, &tls)?;
        let gates = vec![
            (configuration::DISPERSAL, Gate::new().await?),
            (configuration::RETRIEVAL, Gate::new().await?),
        ];
        Ok(Service::new(name.to_owned(), program("dac-node")?, folder, config, gates, database))
    }

    /// Returns a channel to the aggregator.
    pub fn api(&self) -> Result<Channel> {
        self.aggregator.channel(configuration::API)
    }

    /// Submits a payload as an honest rollup does.
    pub async fn submit(&self, number: u64, kind: HashKind, payload: &Bytes) -> Result<v1::Batch, Status> {
        let order = self.rollup.signed(self.rollup.order(number, kind, payload));
        let open = rpc::submit_open(&self.domain(), &order);
        let channel = self.api().map_err(|failure| Status::internal(failure.to_string()))?;
        rpc::submit(channel, open, stream::iter(rpc::pieces(payload))).await
    }

    /// Waits until a batch is in one of these states.
    pub async fn reaches(&self, batch: &v1::Batch, states: &[v1::BatchState]) -> Result<v1::Batch> {
        let digest = dac_proto::wire::hash("submission_digest", &batch.submission_digest)?;
        let followed =
            rpc::watch(self.api()?, rpc::by_submission(digest), |batch| states.contains(&batch.state()));
        let followed = tokio::time::timeout(wait::LIMIT, followed).await;
        followed.context(format!("a batch to become {states:?}"))?.context("following a batch")
    }

    /// Waits until a batch has a certificate, and returns its digest.
    pub async fn certified(&self, batch: &v1::Batch) -> Result<BatchDigest> {
        let states = [
            v1::BatchState::Certified,
            v1::BatchState::Posted,
            v1::BatchState::Failed,
            v1::BatchState::Expired,
        ];
        let batch = self.reaches(batch, &states).await?;
        if matches!(batch.state(), v1::BatchState::Failed | v1::BatchState::Expired) {
            return Err(Failure::new(format!("no certificate: {:?} {}", batch.state(), batch.failure)));
        }
        Ok(dac_proto::wire::digest("digest", &batch.digest)?)
    }

    /// Waits until a batch is recorded on L1.
    pub async fn posted(&self, batch: &v1::Batch) -> Result<v1::Batch> {
        self.reaches(batch, &[v1::BatchState::Posted]).await
    }

    /// Starts every member and aggregator that is not running, and returns their number.
    pub async fn revive(&mut self) -> Result<u64> {
        let mut revived = 0;
        let services = self.members.iter_mut().map(|member| &mut member.service);
        let services = services.chain([&mut self.aggregator]).chain(&mut self.more_aggregators);
        for service in services {
            service.set_environment(&[]);
            if !service.is_running() {
                service.start_until_it_stays().await?;
                revived += 1;
            }
        }
        Ok(revived)
    }

    /// Counts on the chain how often the log has recorded this digest.
    pub async fn recordings(&self, digest: BatchDigest) -> usize {
        let filter = serde_json::json!([{
            "fromBlock": "0x0",
            "address": self.committee.deployment.log,
            "topics": [null, B256::from(*digest.as_bytes())],
        }]);
        let logs = self.anvil.rpc("eth_getLogs", filter).await;
        logs.as_array().map_or(0, Vec::len)
    }

    fn retrieve_arguments(&self, digest: BatchDigest, output: &Path) -> Vec<OsString> {
        let committee = &self.committee.deployment;
        let mut arguments: Vec<OsString> = vec!["retrieve".into(), digest.to_string().into()];
        for (option, value) in [
            ("--out", output.as_os_str().to_owned()),
            ("--rpc-url", self.l1.url().into()),
            ("--registry", committee.registry.to_string().into()),
            ("--certificate-log", committee.log.to_string().into()),
        ] {
            arguments.extend([option.into(), value]);
        }
        arguments
    }

    /// Retrieves a payload with `dac retrieve`, from L1 and members alone.
    pub async fn retrieve(&self, digest: BatchDigest) -> Result<Vec<u8>> {
        let output = self.folder().join(format!("{digest}.payload"));
        let run = Command::new(program("dac")?)
            .args(self.retrieve_arguments(digest, &output))
            .kill_on_drop(true)
            .output();
        let run =
            tokio::time::timeout(wait::LIMIT, run).await.context("dac retrieve")?.context("dac retrieve")?;
        if !run.status.success() {
            return Err(Failure::new(format!("dac retrieve: {}", String::from_utf8_lossy(&run.stderr))));
        }
        let payload = fs::read(&output).context(output.display())?;
        fs::remove_file(&output).context(output.display())?;
        Ok(payload)
    }
}

/// Returns the first bytes of a real batch from the repository.
pub fn real_payload(length: usize) -> Bytes {
    let path = crate::process::source_root().join("demo-data/linea-6-blobs.bin");
    let mut payload = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    payload.truncate(length);
    payload.into()
}

/// How long tests wait to see that something does not happen.
pub const MOMENT: Duration = Duration::from_millis(500);
