//! Several members in one process, which find each other in the registry and read one L1.

use std::collections::BTreeMap;

use dac_chain::RegistryView;
use dac_chain::feed::Fact;
use dac_types::{Committee, Member as Registered};

use super::*;
use crate::testing::EPOCH;

/// The members of a committee of 7, with k 3. Those that were not started do not answer.
pub(super) struct Members {
    pub(super) world: World,
    pub(super) l1: FakeEvents,
    pub(super) running: BTreeMap<Seat, Member>,
}

impl Members {
    pub(super) async fn start(seats: impl IntoIterator<Item = u8>) -> Self {
        let Config { l1, .. } = Config::default();
        let mut members = Self { world: World::new(), l1, running: BTreeMap::new() };
        for seat in seats {
            members.add(Seat(seat), tempfile::tempdir().unwrap()).await;
        }
        members
    }

    /// Returns the configuration of a member of this committee.
    pub(super) fn config(&self, seat: Seat) -> Config {
        let mut repair = RepairSettings::new(NonZeroU64::MAX, 1, EndpointPolicy::AllowPrivate);
        repair.options.attempts_max = 1;
        Config { seat, l1: self.l1.clone(), repair, ..Config::default() }
    }

    /// Starts a seat's member in a folder, and publishes the endpoints of all members.
    pub(super) async fn add(&mut self, seat: Seat, folder: TempDir) {
        let member = Member::start_in(folder, self.config(seat)).await;
        self.running.insert(seat, member);
        self.publish(self.view());
    }

    /// Stops a seat's member and returns its folder.
    pub(super) async fn remove(&mut self, seat: Seat) -> TempDir {
        let Member { node, folder, .. } = self.running.remove(&seat).unwrap();
        node.stop().await;
        folder
    }

    pub(super) fn publish(&self, view: RegistryView) {
        for member in self.running.values() {
            member.registry.publish(view.clone());
        }
    }

    /// Returns the registry with the endpoints of the running members.
    pub(super) fn view(&self) -> RegistryView {
        let mut view = self.world.view();
        for committee in view.committees.values_mut() {
            *committee = Arc::new(self.with_urls(committee, |seat, _| self.url(seat)));
        }
        view
    }

    pub(super) fn url(&self, seat: Seat) -> Option<String> {
        let member = self.running.get(&seat)?;
        Some(format!("http://{}", member.node.addresses().retrieval))
    }

    /// Returns the same registry with other endpoints where `url` gives one.
    pub(super) fn with_urls(
        &self,
        committee: &Committee,
        url: impl Fn(Seat, &Registered) -> Option<String>,
    ) -> Committee {
        let members = committee
            .seats()
            .map(|(seat, member)| {
                // Nothing listens on port 1.
                let retrieval_url = url(seat, member).unwrap_or_else(|| "http://127.0.0.1:1".to_owned());
                Registered { retrieval_url, ..member.clone() }
            })
            .collect();
        let (epoch, quorum) = (committee.epoch(), committee.quorum());
        let (from, until) = (committee.active_from(), committee.active_until());
        Committee::new(epoch, quorum, members, from, until, until.saturating_add(3600)).unwrap()
    }

    pub(super) fn member(&self, seat: Seat) -> &Member {
        &self.running[&seat]
    }

    /// Delivers a batch with a quorum's certificate to some seats.
    pub(super) async fn deliver(&self, batch: &mut Batch, seats: impl IntoIterator<Item = u8>) {
        batch.certificate = Some(self.world.certify(batch));
        for seat in seats {
            self.member(Seat(seat)).put(batch).await.unwrap();
        }
    }

    pub(super) fn batch(&self, number: u64, length: usize) -> Batch {
        assert_eq!(self.world.batch(number, 1).header.epoch, EPOCH);
        self.world.batch(number, length)
    }
}

pub(super) fn recorded(batch: &Batch) -> Fact {
    FakeEvents::recorded(batch.digest, &batch.header)
}

pub(super) fn settled(batch: &Batch) -> Fact {
    FakeEvents::settled(batch.digest, &batch.header)
}
