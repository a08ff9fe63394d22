//! JSON-RPC to L1 over HTTP: every call has a deadline, every answer a bound, and what an endpoint says is only parsed.

mod endpoint;
#[cfg(test)]
pub(crate) mod fake;
mod http;
#[cfg(test)]
mod tests;
mod types;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::types::{At, Call, Log};
pub use self::types::{BlockRef, Head, Receipt, SendAnswer};
use crate::error::ChainError;

/// Where L1 answers, in order of preference.
#[derive(Clone)]
pub struct Endpoints {
    all: Arc<[Endpoint]>,
    chain_id: u64,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("chain_id", &self.chain_id)
            .field("hosts", &self.all.iter().map(Endpoint::name).collect::<Vec<_>>())
            .finish()
    }
}

impl Endpoints {
    /// Endpoints of the chain `chain_id`; each call to each of them may take `timeout`.
    pub fn new<S: AsRef<str>>(urls: &[S], chain_id: u64, timeout: Duration) -> Result<Self, ChainError> {
        if urls.is_empty() {
            return Err(ChainError::NoEndpoint);
        }
        let all =
            urls.iter().map(|url| Endpoint::new(url.as_ref(), timeout)).collect::<Result<Arc<[_]>, _>>()?;
        Ok(Self { all, chain_id })
    }

    /// Asks the first endpoint which chain it serves, for tools that are told no chain id.
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

    /// The chain that all endpoints must serve.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Does `work` with the first endpoint that serves the right chain and answers. A contract's refusal is an answer.
    pub(crate) async fn first<T, F, W>(&self, work: F) -> Result<T, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        self.first_that(work, |_| true).await?.ok_or(ChainError::NoEndpoint)
    }

    /// The same with the first whose answer is `good`; none where some answered, but none well. An answer that is not good is
    /// better than a failure.
    pub(crate) async fn first_that<T, F, W>(
        &self,
        work: F,
        mut good: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        let (mut failure, mut answered) = (None, false);
        for endpoint in self.all.iter() {
            let result = match endpoint.check_chain(self.chain_id).await {
                Ok(()) => work(endpoint.clone()).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(answer) if good(&answer) => return Ok(Some(answer)),
                Ok(_) => answered = true,
                Err(error) if error.is_of_endpoint() => {
                    endpoint.forget_chain();
                    // The first endpoint is the one preferred: its failure is the one to report.
                    failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if answered { Ok(None) } else { Err(failure.unwrap_or(ChainError::NoEndpoint)) }
    }
}

impl ChainError {
    /// Whether another endpoint may do better.
    fn is_of_endpoint(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Transport { .. }
                | Self::AnswerTooLong { .. }
                | Self::Malformed { .. }
                | Self::Refused { .. }
                | Self::WrongChain { .. }
                | Self::NoContract { .. }
                | Self::SnapshotDeadline { .. }
                | Self::Registry { .. }
                | Self::EventsMissing { .. }
        )
    }

    /// Whether a shorter range of blocks may be answered: endpoints refuse crowded ranges in words of their own, or the answer is
    /// over our bound.
    pub fn is_crowded(&self) -> bool {
        matches!(self, Self::AnswerTooLong { .. } | Self::Refused { .. })
    }
}
