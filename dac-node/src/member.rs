//! A member takes shards in, signs, serves, repairs and deletes. Each member has one such process.

use std::sync::Arc;
use std::time::Duration;

use dac_chain::feed::L1Events;
use dac_runtime::monitor::Monitor;
use dac_runtime::service::{Listener, Service, ServiceError};
use dac_runtime::workers::Lane;

use crate::context::{Context, Resources};
use crate::health::NodeHealth;
use crate::node::{Addresses, DISPERSAL, MEMBERS, Node, RETRIEVAL, serve_dispersal, serve_retrieval};
use crate::repair::{RepairSettings, Repairer};
use crate::retain::{self, Retention, Times};
use crate::scrub::{ScrubSettings, Scrubber};
use crate::sync::{L1Sync, SyncSettings};

/// The parts of a member.
pub struct Parts {
    /// What its handlers share.
    pub resources: Resources,
    /// When expired batches are deleted.
    pub retention: Retention,
    /// The events of the contracts on L1.
    pub events: Arc<dyn L1Events>,
    /// The contracts that are followed, and how.
    pub sync: SyncSettings,
    /// How much repair may use up.
    pub repair: RepairSettings,
    /// How often everything is verified again, and how fast.
    pub scrub: ScrubSettings,
    /// The listener to which aggregators deliver.
    pub dispersal: Listener,
    /// The listener from which clients retrieve.
    pub retrieval: Listener,
    /// The listener of `/metrics` and the probes.
    pub monitor: Option<Monitor>,
}

/// Starts a member. Calls under way have `grace` to finish once it is stopped.
///
/// # Errors
/// It fails if a listener cannot be used.
pub async fn start(parts: Parts, grace: Duration) -> Result<Node, ServiceError> {
    crate::metrics::describe_member();
    let mut service = Service::new(&[DISPERSAL, RETRIEVAL, MEMBERS], grace, parts.monitor).await;
    let context = Context::new(parts.resources, service.draining().clone());
    let times = Times {
        clock: Arc::clone(&context.clock),
        registry: context.registry.clone(),
        progress: Arc::clone(&context.progress),
    };
    let (store, retention) = (context.store.clone(), parts.retention);
    let l1 = l1_sync(&context, parts.events, parts.sync);
    let (repairer, scrubber) = (repairer(&context, parts.repair), scrubber(&context, parts.scrub));
    service.watch_health(NodeHealth::new(Arc::clone(&context), true));
    let dispersal = serve_dispersal(&mut service, &context, parts.dispersal)?;
    let retrieval = serve_retrieval(&mut service, &context, parts.retrieval)?;
    service.task("retention", |stop| retain::run(store, times, retention, stop));
    service.task("L1", |stop| l1.run(stop));
    service.task("repair", |stop| repairer.run(stop));
    service.task("re-verification", |stop| scrubber.run(stop));
    let metrics = service.monitor_address();
    Ok(Node::new(context, service, Addresses { dispersal: Some(dispersal), retrieval, metrics }))
}

fn l1_sync(context: &Context, events: Arc<dyn L1Events>, settings: SyncSettings) -> L1Sync {
    L1Sync {
        duties: Arc::clone(&context.store.duties),
        events,
        registry: context.registry.clone(),
        clock: Arc::clone(&context.clock),
        public_key: context.identity.public_key,
        settings,
        progress: Arc::clone(&context.progress),
        repair_wanted: Arc::clone(&context.repair_wanted),
        recount: Arc::clone(&context.recount),
    }
}

fn repairer(context: &Context, settings: RepairSettings) -> Repairer {
    Repairer {
        catalog: Arc::clone(&context.store.catalog),
        duties: Arc::clone(&context.store.duties),
        writer: context.store.writer.clone(),
        registry: context.registry.clone(),
        clock: Arc::clone(&context.clock),
        identity: context.identity,
        workers: context.workers.lane(Lane::Background),
        settings,
        accusations: Arc::clone(&context.accusations),
        status: Arc::clone(&context.repair),
        wanted: Arc::clone(&context.repair_wanted),
        recount: Arc::clone(&context.recount),
    }
}

fn scrubber(context: &Context, settings: ScrubSettings) -> Scrubber {
    Scrubber {
        shards: Arc::clone(&context.store.shards),
        catalog: Arc::clone(&context.store.catalog),
        rounds: Arc::clone(&context.store.rounds),
        clock: Arc::clone(&context.clock),
        workers: context.workers.lane(Lane::Background),
        settings,
        status: Arc::clone(&context.scrub),
        repair_wanted: Arc::clone(&context.repair_wanted),
        recount: Arc::clone(&context.recount),
    }
}
