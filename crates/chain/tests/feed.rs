//! Follows a real chain through reorganisations: the facts held at the end are those of the chain.

use dac_chain::feed::{Cursor, Fact, FeedConfig, L1Events, Origin, RenewedCoverage, RpcEvents, Step};
use dac_chain::testing::{
    Anvil, CommitteeSpec, RollupSpec, TestCommittee, TestRollup, deploy_committee, deploy_rollup,
};
use dac_chain::{CertificateLogReader, Endpoints, RenewOrder};
use dac_types::CoverageRenewal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const REORGANISED_MAX: u64 = 32;

struct Setup {
    anvil: Anvil,
    committee: TestCommittee,
    rollup: TestRollup,
    /// The number of the newest block after deployment.
    deployed: u64,
    /// The Unix second from which the committee signs.
    since: u64,
}

impl Setup {
    async fn new() -> Self {
        let anvil = Anvil::start().await;
        // These blocks exist so that there is something before the first block to read.
        anvil.mine(50).await;
        anvil.advance(100).await;
        let spec = RollupSpec::default();
        let committee = deploy_committee(
            &anvil,
            &CommitteeSpec { activation_delay: spec.activation_delay(), ..CommitteeSpec::new(4, 2, 3) },
        )
        .await;
        let since = anvil.head().await.timestamp;
        let rollup = deploy_rollup(&anvil, &committee, spec).await;
        let deployed = anvil.head().await.number;
        Self { anvil, committee, rollup, deployed, since }
    }

    fn origins(&self) -> [Origin; 2] {
        [Origin::Log(self.committee.deployment.log), Origin::Settlement(self.rollup.address)]
    }

    fn consumers(&self) -> [Consumer; 2] {
        self.origins().map(|origin| Consumer { cursor: Cursor::new(origin, self.since), facts: Vec::new() })
    }

    async fn record(&self, number: u64) {
        let expires_at = self.anvil.head().await.timestamp + 1_000_000;
        let certificate = self.committee.certify(self.committee.header(number, expires_at), &[]);
        let log = self.committee.deployment.log;
        self.anvil.account(self.anvil.key(5)).record(log, &certificate).await.unwrap();
    }

    /// Settles the next batch.
    async fn settle(&self) {
        let next = self.rollup.reader(&self.anvil).state().await.unwrap().batch_count + 1;
        let expires_at = self.anvil.head().await.timestamp + 1_000_000;
        let header = self.rollup.header(&self.committee, next, expires_at);
        self.rollup.settle(&self.rollup.order(&self.committee.certify(header, &[]))).await;
    }

    /// Renews the coverage of all settled batches.
    async fn renew(&self) -> Option<CoverageRenewal> {
        let state = self.rollup.reader(&self.anvil).state().await.unwrap();
        if state.batch_count == 0 {
            return None;
        }
        let renewal = CoverageRenewal {
            rollup: self.rollup.address,
            last_batch: state.batch_count,
            expires_at: state.coverage_until + 1_000_000,
            epoch: self.committee.epoch,
        };
        self.rollup.renew(&RenewOrder::new(&self.committee.certify_renewal(renewal, &[]))).await;
        Some(renewal)
    }

    /// All facts that the readers find on the present chain, except renewals.
    async fn on_chain(&self) -> [Vec<Fact>; 2] {
        let head = self.anvil.head().await.number;
        let log = CertificateLogReader::new(self.anvil.endpoints(), self.committee.deployment.log);
        let recorded = log.recorded_events(0, head).await.unwrap().into_iter().map(Fact::Recorded);
        let settled = self.rollup.reader(&self.anvil).settled_events(0, head, |_, _| {}).await.unwrap();
        let settled = settled.into_iter().map(|batch| Fact::Settled { rollup: self.rollup.address, batch });
        [recorded.collect(), settled.collect()]
    }
}

struct Consumer {
    cursor: Cursor,
    facts: Vec<Fact>,
}

impl Consumer {
    /// Makes one step; returns whether it is caught up.
    async fn step(&mut self, l1: &RpcEvents, config: &FeedConfig) -> bool {
        let step = l1.step(&self.cursor, config).await.unwrap();
        let caught_up = step.is_caught_up();
        match step {
            Step::Rewind { to_block, cursor } => {
                self.facts.retain(|fact| fact.block() <= to_block);
                self.cursor = cursor;
            }
            Step::Facts { facts, cursor, .. } => {
                self.facts.extend(facts);
                self.cursor = cursor;
            }
            Step::UpToDate { .. } | Step::Behind { .. } => {}
        }
        caught_up
    }

    async fn catch_up(&mut self, l1: &RpcEvents, config: &FeedConfig) {
        for _ in 0..1_000 {
            if self.step(l1, config).await {
                return;
            }
        }
        panic!("never caught up: {:?}", self.cursor);
    }

    fn without_renewals(&self) -> Vec<Fact> {
        self.facts.iter().filter(|fact| !matches!(fact, Fact::Renewed(_))).copied().collect()
    }
}

#[tokio::test]
async fn what_l1_says_is_read_from_the_first_block_that_can_have_it() {
    let setup = Setup::new().await;
    for number in 1..=3 {
        setup.record(number).await;
        setup.settle().await;
    }
    setup.anvil.mine(20).await;
    let renewal = setup.renew().await.unwrap();
    setup.anvil.mine(2).await;
    // The first endpoint is down.
    let urls = ["http://127.0.0.1:9".to_owned(), setup.anvil.url()];
    let endpoints =
        Endpoints::new(&urls, setup.anvil.chain_id(), std::time::Duration::from_secs(30)).unwrap();
    let l1 = RpcEvents::new(endpoints);
    let expected = setup.on_chain().await;
    for (mut consumer, expected) in setup.consumers().into_iter().zip(expected) {
        // The renewal lies exactly as deep as the confirmations.
        let config = FeedConfig { confirmations: 2, page_blocks: 5 };
        consumer.catch_up(&l1, &config).await;
        assert_eq!(consumer.without_renewals(), expected);
        assert!(consumer.cursor.checkpoints()[0].number >= 50, "{:?}", consumer.cursor);
        let renewed: Vec<&Fact> =
            consumer.facts.iter().filter(|fact| matches!(fact, Fact::Renewed(_))).collect();
        match consumer.cursor.origin() {
            Origin::Log(_) => assert!(renewed.is_empty()),
            Origin::Settlement(rollup) => {
                let [Fact::Renewed(renewed)] = renewed[..] else { panic!("{renewed:?}") };
                let CoverageRenewal { last_batch, expires_at, epoch, .. } = renewal;
                let head = setup.anvil.head().await.number;
                let digest = renewal.digest(&setup.committee.domain);
                let expected = RenewedCoverage {
                    digest,
                    rollup,
                    last_batch,
                    epoch,
                    expires_at,
                    coverage_until: expires_at,
                    block: head - 2,
                    tx: renewed.tx,
                };
                assert_eq!(*renewed, expected);
                assert_eq!(consumer.cursor.settled(), 3);
            }
        }
        assert!(matches!(l1.step(&consumer.cursor, &config).await.unwrap(), Step::UpToDate { .. }));
        assert_eq!(l1.head(2).await.unwrap().number, consumer.cursor.next_block() - 1);
    }
}

#[tokio::test]
async fn reorganisations_of_any_depth_are_followed() {
    let seed = std::env::var("DAC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("DAC_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let setup = Setup::new().await;
    let l1 = RpcEvents::new(setup.anvil.endpoints());
    let config = FeedConfig { confirmations: 0, page_blocks: random.random_range(1..20) };
    let (mut consumers, mut rewinds, mut number) = (setup.consumers(), 0, 0);
    for _ in 0..60 {
        match random.random_range(0..7) {
            0 | 1 => {
                number += 1;
                setup.record(number).await;
            }
            2 | 3 => setup.settle().await,
            4 => {
                setup.renew().await;
            }
            5 => setup.anvil.mine(random.random_range(1..12)).await,
            _ => {
                let height = setup.anvil.head().await.number - setup.deployed;
                let depth = random.random_range(1..=REORGANISED_MAX).min(height);
                if depth > 0 {
                    setup.anvil.reorganise(depth).await;
                }
            }
        }
        for consumer in &mut consumers {
            for _ in 0..random.random_range(0..4) {
                let before = consumer.cursor.next_block();
                consumer.step(&l1, &config).await;
                rewinds += usize::from(consumer.cursor.next_block() < before);
            }
        }
    }
    let expected = setup.on_chain().await;
    for (consumer, expected) in consumers.iter_mut().zip(expected) {
        consumer.catch_up(&l1, &config).await;
        assert_eq!(consumer.without_renewals(), expected, "DAC_SEED={seed}");
        // A consumer that reads only now holds the same facts, and the renewals too.
        let mut late = Consumer { cursor: Cursor::new(consumer.cursor.origin(), setup.since), facts: vec![] };
        late.catch_up(&l1, &FeedConfig::new(0)).await;
        assert_eq!(consumer.facts, late.facts, "DAC_SEED={seed}");
    }
    println!("{rewinds} rewinds");
}
