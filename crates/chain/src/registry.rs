//! A consistent snapshot of the committee registry, read at one block hash. It comes from one
//! endpoint, or alike from as many as must agree.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolCall;
use async_trait::async_trait;
use dac_types::{AdmittedRollup, Committee, Domain};
use tokio::sync::Mutex;

use crate::contracts::CommitteeRegistry;
use crate::error::{ChainError, RegistryFault};
use crate::records::{self, EpochTerms, RawKey};
use crate::rpc::{At, BlockRef, Call, Endpoint, Endpoints};

/// The number of members in one page of a committee.
const MEMBERS_PAGE: usize = 64;
/// The number of rollups in one page.
const ROLLUPS_PAGE: usize = 256;
/// The most rollups that are read.
const ROLLUPS_MAX: u64 = 16_384;
/// The most epochs that are read, counted from the newest. All batches of older epochs have
/// expired.
const EPOCHS_MAX: u64 = 1_024;
/// The longest that reading one snapshot may take. Immutable data that was read stays cached for
/// the next attempt.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(60);

/// The registry at one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryView {
    /// L1's chain id.
    pub chain_id: u64,
    /// The registry's address.
    pub registry: Address,
    /// The block at which all of this was read.
    pub head: BlockRef,
    /// All epochs by number, including future and replaced ones.
    pub committees: BTreeMap<u64, Arc<Committee>>,
    /// The epoch that signs at the block's time; `None` before the first.
    pub current_epoch: Option<u64>,
    /// All admitted rollups by settlement contract.
    pub rollups: HashMap<Address, AdmittedRollup>,
    /// Whether the owner has paused the committee: members accept no new batch, and the log no new
    /// certificate.
    pub paused: bool,
}

impl RegistryView {
    /// The committee of an epoch.
    pub fn committee(&self, epoch: u64) -> Option<&Arc<Committee>> {
        self.committees.get(&epoch)
    }

    /// The committee whose members sign at `now`, which may be later than the time of the last
    /// block.
    pub fn active_committee(&self, now: u64) -> Option<&Arc<Committee>> {
        self.committees.values().rev().find(|committee| committee.is_active(now))
    }

    /// The terms of an admitted rollup.
    pub fn rollup(&self, rollup: Address) -> Option<&AdmittedRollup> {
        self.rollups.get(&rollup)
    }

    /// The domain in which this committee's signatures are valid.
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, registry: self.registry }
    }

    /// Whether two views of the same block have the same consequences. Members' URLs may differ in
    /// epochs that can no longer be posted, because those are re-read only from time to time.
    fn decides_like(&self, other: &Self) -> bool {
        let like = |(a, b): (&Arc<Committee>, &Arc<Committee>)| {
            let is_retired = a.postable_until() < self.head.timestamp;
            let members = a.members().iter().zip(b.members());
            a == b
                || (is_retired
                    && a.epoch() == b.epoch()
                    && a.quorum() == b.quorum()
                    && (a.active_from(), a.active_until(), a.postable_until())
                        == (b.active_from(), b.active_until(), b.postable_until())
                    && a.members().len() == b.members().len()
                    && members
                        .into_iter()
                        .all(|(a, b)| (a.operator, a.public_key) == (b.operator, b.public_key)))
        };
        self.head == other.head
            && (self.chain_id, self.registry) == (other.chain_id, other.registry)
            && self.committees.len() == other.committees.len()
            && self.committees.values().zip(other.committees.values()).all(like)
            && self.current_epoch == other.current_epoch
            && self.rollups == other.rollups
            && self.paused == other.paused
    }
}

/// Reads snapshots of the registry, for the follower.
#[async_trait]
pub trait RegistryReader: Send + Sync {
    /// Reads the registry as of the newest block that has `confirmations` blocks on top.
    async fn read(&self, confirmations: u64) -> Result<RegistryView, ChainError>;
    /// The endpoints it reads from, for status; `None` if it does not read over JSON-RPC.
    fn sources(&self) -> Option<Endpoints> {
        None
    }
}

/// Reads the registry over JSON-RPC.
#[derive(Debug)]
pub struct RpcRegistryReader {
    endpoints: Endpoints,
    registry: Address,
    /// One cache for each endpoint, because the answers of one say nothing about another.
    caches: Vec<Mutex<Cache>>,
}

impl RpcRegistryReader {
    /// A reader of the registry at `registry`.
    pub fn new(endpoints: Endpoints, registry: Address) -> Self {
        let caches = std::iter::repeat_with(Mutex::default).take(endpoints.len()).collect();
        Self { endpoints, registry, caches }
    }

    /// The domain from the configuration; reading checks that L1 agrees.
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.endpoints.chain_id(), registry: self.registry }
    }

    pub(crate) const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }
}

#[async_trait]
impl RegistryReader for RpcRegistryReader {
    async fn read(&self, confirmations: u64) -> Result<RegistryView, ChainError> {
        let pinned = self.endpoints.pinned(confirmations).await?;
        if pinned.is_none() {
            self.endpoints.put_behind_who_lags().await?;
        }
        // The whole snapshot comes from one endpoint, because another may not know the block.
        let snapshot = |endpoint: Endpoint| async move {
            let mut cache = self.caches[endpoint.index()].lock().await;
            let name = endpoint.name().to_owned();
            let snapshot =
                Snapshot { endpoint, registry: self.registry, chain_id: self.endpoints.chain_id() };
            let read = async {
                let head = match pinned {
                    Some(head) => head,
                    None => snapshot.endpoint.confirmed(confirmations).await?,
                };
                snapshot.read(&mut cache, head).await
            };
            tokio::time::timeout(SNAPSHOT_DEADLINE, read)
                .await
                .unwrap_or(Err(ChainError::SnapshotDeadline { endpoint: name, limit: SNAPSHOT_DEADLINE }))
        };
        self.endpoints.agreed_by("the committee registry", snapshot, RegistryView::decides_like).await
    }

    fn sources(&self) -> Option<Endpoints> {
        Some(self.endpoints.clone())
    }
}

/// What was read earlier and need not be read again. A committee's members never change; only their
/// URLs do.
#[derive(Debug, Default)]
struct Cache {
    /// The block of the last reading. Once it is no longer part of the chain, the whole cache is
    /// void.
    head: Option<BlockRef>,
    epochs: BTreeMap<u64, CachedEpoch>,
    /// The replaced epoch whose URLs are re-read next.
    refresh_next: u64,
}

#[derive(Debug)]
struct CachedEpoch {
    keys: Vec<RawKey>,
    committee: Arc<Committee>,
}

/// A snapshot that is being read.
struct Snapshot {
    endpoint: Endpoint,
    registry: Address,
    chain_id: u64,
}

impl Snapshot {
    async fn read(&self, cache: &mut Cache, head: BlockRef) -> Result<RegistryView, ChainError> {
        // `Endpoints` checks the chain id only after failures; a snapshot is rare enough to check
        // it each time.
        let got = self.endpoint.chain_id().await?;
        if got != self.chain_id {
            return Err(ChainError::WrongChain {
                endpoint: self.endpoint.name().into(),
                expected: self.chain_id,
                got,
            });
        }
        self.drop_reorganised(cache, head).await?;
        // Set before anything is cached, so that a reading that is given up half-way leaves no data
        // of an unknown block.
        cache.head = Some(head);

        let epoch_count = self.call(head, CommitteeRegistry::epochCountCall {}).await?;
        cache.epochs.retain(|epoch, _| *epoch <= epoch_count);
        let oldest = epoch_count.saturating_sub(EPOCHS_MAX) + 1;
        let mut committees = BTreeMap::new();
        for epoch in (oldest..=epoch_count).rev() {
            committees.insert(epoch, self.committee(cache, head, epoch, epoch_count).await?);
        }
        cache.refresh_next = self.next_to_refresh(cache, head);
        self.share_urls(cache, &mut committees);

        Ok(RegistryView {
            chain_id: self.chain_id,
            registry: self.registry,
            head,
            current_epoch: committees
                .iter()
                .rev()
                .find(|(_, committee)| committee.active_from() <= head.timestamp)
                .map(|(epoch, _)| *epoch),
            committees,
            rollups: self.rollups(head).await?,
            paused: self.call(head, CommitteeRegistry::pausedCall {}).await?,
        })
    }

    async fn drop_reorganised(&self, cache: &mut Cache, head: BlockRef) -> Result<(), ChainError> {
        let Some(former) = cache.head else { return Ok(()) };
        let still_there = former == head
            || (former.number < head.number
                && self.endpoint.block_at(former.number).await?.is_some_and(|block| block.block == former));
        if !still_there {
            *cache = Cache::default();
        }
        Ok(())
    }

    async fn committee(
        &self,
        cache: &mut Cache,
        head: BlockRef,
        epoch: u64,
        epoch_count: u64,
    ) -> Result<Arc<Committee>, ChainError> {
        // The record of an epoch replaced long ago is final. Any other epoch may have got its end
        // since the last reading.
        if let Some(cached) = cache.epochs.get(&epoch)
            && epoch < epoch_count
            && cached.committee.postable_until() < head.timestamp
            && epoch != cache.refresh_next
        {
            return Ok(cached.committee.clone());
        }
        let record = self.call(head, CommitteeRegistry::epochCall { number: epoch }).await?;
        let terms = EpochTerms::from_abi(epoch, &record).map_err(|fault| self.fault(fault))?;
        let members = self.members(head, epoch, usize::from(terms.quorum.geometry().n())).await?;
        let former = cache.epochs.get(&epoch);
        let entry = build_committee(epoch, terms, members, former).map_err(|fault| self.fault(fault))?;
        let committee = entry.committee.clone();
        cache.epochs.insert(epoch, entry);
        Ok(committee)
    }

    async fn members(
        &self,
        head: BlockRef,
        epoch: u64,
        n: usize,
    ) -> Result<Vec<CommitteeRegistry::Member>, ChainError> {
        let mut members = Vec::with_capacity(n);
        while members.len() < n {
            let expected = MEMBERS_PAGE.min(n - members.len());
            let page = self
                .call(
                    head,
                    CommitteeRegistry::members_1Call {
                        number: epoch,
                        offset: U256::from(members.len()),
                        limit: U256::from(MEMBERS_PAGE),
                    },
                )
                .await?;
            self.check_page("members", page.len(), expected)?;
            members.extend(page);
        }
        Ok(members)
    }

    async fn rollups(&self, head: BlockRef) -> Result<HashMap<Address, AdmittedRollup>, ChainError> {
        let count: U256 = self.call(head, CommitteeRegistry::rollupCountCall {}).await?;
        let claimed = u64::try_from(count).unwrap_or(u64::MAX);
        let count = usize::try_from(claimed).unwrap_or(usize::MAX);
        if claimed > ROLLUPS_MAX {
            return Err(self.fault(RegistryFault::TooMany {
                what: "rollups",
                got: claimed,
                limit: ROLLUPS_MAX,
            }));
        }
        let mut rollups = HashMap::with_capacity(count);
        while rollups.len() < count {
            let expected = ROLLUPS_PAGE.min(count - rollups.len());
            let page = self
                .call(
                    head,
                    CommitteeRegistry::rollupsCall {
                        offset: U256::from(rollups.len()),
                        limit: U256::from(ROLLUPS_PAGE),
                    },
                )
                .await?;
            self.check_page("rollups", page.len(), expected)?;
            for record in page {
                let rollup = records::rollup(&record);
                if rollups.insert(rollup.rollup, rollup).is_some() {
                    return Err(self.fault(RegistryFault::DuplicateRollup(rollup.rollup)));
                }
            }
        }
        Ok(rollups)
    }

    /// Returns the replaced epoch whose URLs are re-read next. An operator may change its URLs at
    /// any time, for all its epochs at once. Epochs that can still be posted are read for every
    /// snapshot; of the others, one for each snapshot, in turn.
    fn next_to_refresh(&self, cache: &Cache, head: BlockRef) -> u64 {
        let retired = |(epoch, cached): (&u64, &CachedEpoch)| {
            (cached.committee.postable_until() < head.timestamp).then_some(*epoch)
        };
        cache
            .epochs
            .range(cache.refresh_next.saturating_add(1)..)
            .find_map(retired)
            .or_else(|| cache.epochs.iter().find_map(retired))
            .unwrap_or(0)
    }

    /// Takes an operator's URLs from the newest epoch that seats it, which was just read, for all
    /// older ones.
    fn share_urls(&self, cache: &mut Cache, committees: &mut BTreeMap<u64, Arc<Committee>>) {
        let mut today: HashMap<Address, (String, String)> = HashMap::new();
        for (epoch, committee) in committees.iter_mut().rev() {
            let stale = committee.members().iter().any(|member| {
                today.get(&member.operator).is_some_and(|(dispersal, retrieval)| {
                    *dispersal != member.dispersal_url || *retrieval != member.retrieval_url
                })
            });
            if stale {
                let mut members = committee.members().to_vec();
                for member in &mut members {
                    if let Some((dispersal, retrieval)) = today.get(&member.operator) {
                        member.dispersal_url.clone_from(dispersal);
                        member.retrieval_url.clone_from(retrieval);
                    }
                }
                let renewed = Committee::new(
                    committee.epoch(),
                    committee.quorum(),
                    members,
                    committee.active_from(),
                    committee.active_until(),
                    committee.postable_until(),
                );
                if let Ok(renewed) = renewed {
                    *committee = Arc::new(renewed);
                    if let Some(cached) = cache.epochs.get_mut(epoch) {
                        cached.committee = committee.clone();
                    }
                }
            }
            for member in committee.members() {
                today
                    .entry(member.operator)
                    .or_insert_with(|| (member.dispersal_url.clone(), member.retrieval_url.clone()));
            }
        }
    }

    async fn call<C: SolCall>(&self, head: BlockRef, call: C) -> Result<C::Return, ChainError> {
        let request = Call::view(self.registry, call.abi_encode());
        match self.endpoint.call(&request, At::Hash(head.hash)).await? {
            // An address without code answers every call with nothing.
            Ok(data) if data.is_empty() => {
                Err(ChainError::NoContract { contract: "committee registry", address: self.registry })
            }
            Ok(data) => C::abi_decode_returns_validate(&data)
                .map_err(|error| self.malformed("eth_call", format!("{}: {error}", C::SIGNATURE))),
            Err(revert) => Err(self.malformed("eth_call", format!("{}: {revert}", C::SIGNATURE))),
        }
    }

    fn check_page(&self, what: &'static str, got: usize, expected: usize) -> Result<(), ChainError> {
        if got == expected {
            Ok(())
        } else {
            Err(self.fault(RegistryFault::PageLength { what, got, expected }))
        }
    }

    fn fault(&self, fault: RegistryFault) -> ChainError {
        ChainError::Registry { endpoint: self.endpoint.name().into(), fault }
    }

    fn malformed(&self, method: &'static str, reason: String) -> ChainError {
        ChainError::Malformed { endpoint: self.endpoint.name().into(), method, reason }
    }
}

/// Builds a committee. Decoding keys costs the most, so keys that did not change are taken from the
/// last reading, and so is the whole committee if nothing changed.
fn build_committee(
    epoch: u64,
    terms: EpochTerms,
    raw: Vec<CommitteeRegistry::Member>,
    former: Option<&CachedEpoch>,
) -> Result<CachedEpoch, RegistryFault> {
    let mut keys = Vec::with_capacity(raw.len());
    let mut members = Vec::with_capacity(raw.len());
    for (seat, member) in raw.into_iter().enumerate() {
        let key = records::raw_key(epoch, seat, &member)?;
        let known = former.filter(|former| former.keys.get(seat) == Some(&key));
        let public_key = match known.and_then(|former| former.committee.members().get(seat)) {
            Some(known) => known.public_key,
            None => records::public_key(epoch, seat, &key)?,
        };
        keys.push(key);
        members.push(records::member(epoch, seat, member, public_key)?);
    }
    let committee = Committee::new(
        epoch,
        terms.quorum,
        members,
        terms.active_from,
        terms.active_until,
        terms.postable_until,
    )?;
    let committee = match former {
        Some(former) if *former.committee == committee => former.committee.clone(),
        _ => Arc::new(committee),
    };
    Ok(CachedEpoch { keys, committee })
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
