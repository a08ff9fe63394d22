//! JSON-RPC to L1 over HTTP. Every call has a deadline, every answer a bound on its size, and
//! answers are only parsed.

mod agreed;
#[cfg(test)]
mod agreed_tests;
mod endpoint;
#[cfg(test)]
pub(crate) mod fake;
mod found;
mod http;
mod rest;
mod standing;
#[cfg(test)]
mod tests;
mod tip;
mod types;
mod width;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::agreed::{EndpointsStatus, checked_agree};
pub(crate) use self::endpoint::Endpoint;
use self::rest::Turn;
use self::standing::TOLD_FOR;
pub(crate) use self::types::{At, Call, Log};
pub use self::types::{BlockRef, Head, Receipt};
use crate::error::ChainError;
pub use crate::transaction::SendAnswer;

/// The longest pause asked for by an endpoint that is waited for within a call. Longer ones are
/// returned to the caller as an error.
const PAUSE_WAITED_FOR_MAX: Duration = Duration::from_secs(2);

/// An endpoint whose newest block is older than this may have stopped following the chain.
const HEAD_AGE_MAX: Duration = Duration::from_secs(60);
/// The most blocks by which an endpoint may be behind another.
const BLOCKS_BEHIND_MAX: u64 = 3;

/// The L1 endpoints, in order of preference.
#[derive(Clone)]
pub struct Endpoints {
    all: Arc<[Endpoint]>,
    chain_id: u64,
    /// How many endpoints must give the same answer to a deciding request.
    agree: usize,
    /// The highest block that was taken for the newest one.
    highest: Arc<AtomicU64>,
    /// Requests that were not decided when last made: when that was, and why.
    undecided: Arc<Mutex<BTreeMap<&'static str, (Instant, String)>>>,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("chain_id", &self.chain_id)
            .field("agree", &self.agree)
            .field("hosts", &self.all.iter().map(Endpoint::name).collect::<Vec<_>>())
            .finish()
    }
}

impl Endpoints {
    /// Endpoints of the chain `chain_id`; each call to each of them may take `timeout`. Each is
    /// trusted alone, unless [`Endpoints::agreeing`] sets another rule.
    pub fn new<S: AsRef<str>>(urls: &[S], chain_id: u64, timeout: Duration) -> Result<Self, ChainError> {
        if urls.is_empty() {
            return Err(ChainError::NoEndpoint);
        }
        let endpoint = |(index, url): (usize, &S)| Ok(Endpoint::new(url.as_ref(), timeout)?.at(index));
        let all = urls.iter().enumerate().map(endpoint).collect::<Result<Arc<[_]>, ChainError>>()?;
        Ok(Self { all, chain_id, agree: 1, highest: Arc::default(), undecided: Arc::default() })
    }

    /// Asks the first endpoint that answers which chain it serves, for tools that are given no
    /// chain id.
    pub async fn discover<S: AsRef<str>>(urls: &[S], timeout: Duration) -> Result<Self, ChainError> {
        let mut this = Self::new(urls, 0, timeout)?;
        let mut failure = ChainError::NoEndpoint;
        for endpoint in this.all.iter() {
            match endpoint.chain_id().await {
                Ok(chain_id) => {
                    this.chain_id = chain_id;
                    return Ok(this);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The id of the chain that all endpoints must serve.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The newest block, from the first endpoint that keeps up. An endpoint that is behind what was
    /// seen before, or whose newest block is old, is compared with the others. If those have more,
    /// it is asked after them for a while, for every kind of request.
    ///
    /// If several must agree, it is the newest block that so many have.
    pub(crate) async fn head(&self) -> Result<Head, ChainError> {
        if self.agree > 1 {
            return self.agreed_head(0).await;
        }
        let highest = self.highest.load(Ordering::Relaxed);
        let mut slow: Vec<(Endpoint, Head)> = Vec::new();
        let look = |endpoint: Endpoint| async move {
            let head = endpoint.head().await?;
            Ok((endpoint, head))
        };
        let keeps_up = |(endpoint, head): &(Endpoint, Head)| {
            let keeps_up = keeps_up_with(head, highest) && is_fresh(head);
            if !keeps_up {
                slow.push((endpoint.clone(), *head));
            }
            keeps_up
        };
        match (self.first_that(look, keeps_up).await, slow.iter().map(|(_, head)| head.block.number).max()) {
            (Ok(Some((_, head))), _) => {
                self.highest.fetch_max(head.block.number, Ordering::Relaxed);
                Ok(head)
            }
            (_, Some(best)) => {
                // Either there was no block for a long time, or this machine's clock is wrong, or
                // the chain has really gone back.
                self.highest.store(best, Ordering::Relaxed);
                let (follow, lag): (Vec<_>, Vec<_>) =
                    slow.into_iter().partition(|(_, head)| keeps_up_with(head, best));
                lag.iter().for_each(|(endpoint, _)| endpoint.lags());
                follow.first().map(|(_, head)| *head).ok_or(ChainError::NoEndpoint)
            }
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(ChainError::NoEndpoint),
        }
    }

    /// The number of endpoints.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The number of endpoints that must give the same answer.
    pub(crate) fn agree(&self) -> usize {
        self.agree
    }

    /// How many of `blocks` blocks should be asked for logs at once, given the most that any
    /// endpoint granted before.
    pub(crate) fn page_width(&self, blocks: u64) -> u64 {
        self.all.iter().map(|endpoint| endpoint.page_width(blocks)).max().unwrap_or(1)
    }

    /// The same, given the least that any endpoint granted.
    pub(crate) fn narrowest_page(&self, blocks: u64) -> u64 {
        self.all.iter().map(|endpoint| endpoint.page_width(blocks)).min().unwrap_or(1)
    }

    /// The deciding block, if several endpoints must agree: the newest one that so many have with
    /// `confirmations` blocks on top. `None` if one endpoint is enough, which then uses its own
    /// head.
    pub(crate) async fn pinned(&self, confirmations: u64) -> Result<Option<BlockRef>, ChainError> {
        if self.agree > 1 { Ok(Some(self.agreed_head(confirmations).await?.block)) } else { Ok(None) }
    }

    /// The newest block that has `confirmations` blocks on top, from one endpoint that keeps up or
    /// from as many as must agree.
    pub(crate) async fn confirmed(&self, confirmations: u64) -> Result<BlockRef, ChainError> {
        if let Some(block) = self.pinned(confirmations).await? {
            return Ok(block);
        }
        self.put_behind_who_lags().await?;
        self.first(|endpoint| async move { endpoint.confirmed(confirmations).await }).await
    }

    fn lock_undecided(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, (Instant, String)>> {
        self.undecided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why something is not decided at present. A request that is no longer made is dropped from
    /// this after a while.
    fn why_undecided(&self) -> Option<String> {
        let mut undecided = self.lock_undecided();
        undecided.retain(|_, (at, _)| at.elapsed() <= TOLD_FOR);
        undecided.first_key_value().map(|(_, (_, why))| why.clone())
    }

    /// If there are several endpoints, has those that are behind asked after the others.
    pub(crate) async fn put_behind_who_lags(&self) -> Result<(), ChainError> {
        if self.all.len() > 1 {
            self.head().await?;
        }
        Ok(())
    }

    /// Does `work` with the first endpoint that serves the right chain and answers. A contract's
    /// refusal is an answer.
    ///
    /// An endpoint that did not answer lately is asked only if the others could not help, until
    /// some time has passed. An endpoint that asked for a pause gets it: if there is no other, a
    /// short pause is waited for, and a longer one is [`ChainError::RateLimited`].
    pub(crate) async fn first<T, F, W>(&self, work: F) -> Result<T, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        self.first_that(work, |_| true).await?.ok_or(ChainError::NoEndpoint)
    }

    /// The same with the first endpoint whose answer is `good`. `None` if some answered, but none
    /// well; such an answer still counts for more than a failure. If one answer was good, the
    /// endpoints asked before it are asked after it for a while.
    pub(crate) async fn first_that<T, F, W>(
        &self,
        work: F,
        mut good: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        match self.round(self.all.iter(), &work, &mut good).await {
            Err(ChainError::RateLimited { retry_after, .. }) if retry_after <= PAUSE_WAITED_FOR_MAX => {
                tokio::time::sleep(retry_after).await;
                self.round(self.all.iter(), &work, &mut good).await
            }
            result => result,
        }
    }

    /// Does `work` with the last endpoint that serves the right chain and answers. If there are
    /// several, this is another one than [`Endpoints::first`] takes.
    pub(crate) async fn elsewhere<T, F, W>(&self, work: F) -> Result<T, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        self.round(self.all.iter().rev(), &work, &mut |_| true).await?.ok_or(ChainError::NoEndpoint)
    }

    /// Does `work` with all endpoints at once and returns the first good answer, or the first other
    /// answer if none is good. Once it has returned, the remaining requests still run to their end.
    pub(crate) async fn every<T, F, W>(&self, work: F, good: impl Fn(&T) -> bool) -> Result<T, ChainError>
    where
        T: Send + 'static,
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>> + Send + 'static,
    {
        let asked: Vec<_> =
            self.all.iter().filter(|endpoint| !matches!(endpoint.turn(), Turn::Not(_))).collect();
        if asked.is_empty() {
            return self.first(work).await;
        }
        let (sender, mut answers) = mpsc::channel(asked.len());
        for endpoint in asked {
            let (chain_id, sender, work) = (self.chain_id, sender.clone(), work(endpoint.clone()));
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                // The receiver is gone if there was a good answer already.
                let _ = sender.send(asked_one(&endpoint, chain_id, work).await).await;
            });
        }
        drop(sender);
        let (mut answer, mut failure) = (None, None);
        while let Some(result) = answers.recv().await {
            match result {
                Ok(good_one) if good(&good_one) => return Ok(good_one),
                Ok(other) => answer = answer.or(Some(other)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        answer.ok_or_else(|| failure.unwrap_or(ChainError::NoEndpoint))
    }

    async fn round<'a, T, F, W>(
        &'a self,
        order: impl Iterator<Item = &'a Endpoint>,
        work: &F,
        good: &mut impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        let (mut failure, mut poor) = (None, Vec::new());
        let (now, later): (Vec<_>, Vec<_>) = order.partition(|endpoint| endpoint.turn() == Turn::Now);
        for endpoint in now.into_iter().chain(later) {
            let result = match endpoint.turn() {
                Turn::Not(pause) => Err(endpoint.rate_limited("any request", pause)),
                _ => asked_one(endpoint, self.chain_id, work(endpoint.clone())).await,
            };
            match result {
                Ok(answer) if good(&answer) => {
                    poor.into_iter().for_each(Endpoint::lags);
                    return Ok(Some(answer));
                }
                Ok(_) => poor.push(endpoint),
                Err(error) if error.is_of_endpoint() => {
                    failure = Some(match failure {
                        Some(former) => more_useful(former, error),
                        None => error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        if poor.is_empty() { Err(failure.unwrap_or(ChainError::NoEndpoint)) } else { Ok(None) }
    }
}

/// Does `work` with one endpoint if it serves the right chain, and notes whether it failed.
async fn asked_one<T>(
    endpoint: &Endpoint,
    chain_id: u64,
    work: impl Future<Output = Result<T, ChainError>>,
) -> Result<T, ChainError> {
    let result = match endpoint.check_chain(chain_id).await {
        Ok(()) => work.await,
        Err(error) => Err(error),
    };
    match &result {
        Err(error) if error.is_of_endpoint() => endpoint.failed(error),
        _ => endpoint.standing().answered(),
    }
    result
}

/// Whether a head keeps up with a block number. A few blocks do not count, since some endpoints
/// spread requests over several nodes.
const fn keeps_up_with(head: &Head, number: u64) -> bool {
    head.block.number.saturating_add(BLOCKS_BEHIND_MAX) >= number
}

/// Whether a block is recent by this machine's clock. If the clock is wrong, at worst other
/// endpoints are asked in vain.
fn is_fresh(head: &Head) -> bool {
    #[expect(clippy::disallowed_methods, reason = "only which endpoints are asked depends on it")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_secs(head.block.timestamp)) <= HEAD_AGE_MAX
}

/// Chooses between two endpoints' failures: the one with the shorter pause, since waiting for it
/// helps; otherwise the first, since that endpoint is the preferred one.
fn more_useful(former: ChainError, later: ChainError) -> ChainError {
    match (&former, &later) {
        (ChainError::RateLimited { retry_after: a, .. }, ChainError::RateLimited { retry_after: b, .. }) => {
            if b < a {
                later
            } else {
                former
            }
        }
        _ => former,
    }
}

impl ChainError {
    /// Whether another endpoint may answer better.
    fn is_of_endpoint(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Transport { .. }
                | Self::RateLimited { .. }
                | Self::AnswerTooLong { .. }
                | Self::Malformed { .. }
                | Self::Refused { .. }
                | Self::HttpStatus { .. }
                | Self::WrongChain { .. }
                | Self::NoContract { .. }
                | Self::SnapshotDeadline { .. }
                | Self::Registry { .. }
                | Self::BlockUnknown { .. }
                | Self::EventsMissing { .. }
        )
    }

    /// Whether a shorter range of blocks is likely to be answered: endpoints refuse too wide ranges
    /// in words of their own, or the answer is over our bound.
    pub fn is_crowded(&self) -> bool {
        matches!(
            self,
            Self::AnswerTooLong { .. } | Self::Refused { .. } | Self::HttpStatus { status: 413, .. }
        )
    }

    /// Whether a shorter range of blocks may be answered: a wide one may also end in a timeout, a
    /// broken connection, a proxy's status or an empty answer.
    pub fn may_be_crowded(&self) -> bool {
        self.is_crowded()
            || matches!(
                self,
                Self::Timeout { .. }
                    | Self::Transport { .. }
                    | Self::HttpStatus { .. }
                    | Self::Malformed { .. }
            )
    }
}
