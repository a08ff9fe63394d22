//! What processes that share one store divide among themselves: each batch has one process that
//! works on it, and one process posts.

use std::fmt;
use std::sync::Arc;

use dac_database::KeptLease;
use dac_poster::PosterStore;

use crate::batch::SubmissionDigest;

/// Which batches a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whether it takes batches with a certificate too, because it is the process that posts.
    pub posting: bool,
    /// Whether the answer names also the batches that it owned before.
    pub all: bool,
}

/// The answer to a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The batches of this process to be worked on, oldest first.
    pub work: Vec<SubmissionDigest>,
    /// The batches of this process that another process changed.
    pub touched: Vec<SubmissionDigest>,
}

/// The right to post, for as long as it lasts, and the poster's books.
pub struct Lead {
    books: Arc<dyn PosterStore>,
    lease: Option<Arc<KeptLease>>,
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl Lead {
    /// Makes the right of a process that has the store to itself.
    pub fn alone(books: Arc<dyn PosterStore>) -> Self {
        Self { books, lease: None }
    }

    /// Makes the right that a lease gives. The books check the lease with every change.
    pub(super) fn by(lease: Arc<KeptLease>, books: Arc<dyn PosterStore>) -> Self {
        Self { books, lease: Some(lease) }
    }

    /// Returns the poster's books. They refuse changes once another process has the right.
    pub fn books(&self) -> Arc<dyn PosterStore> {
        Arc::clone(&self.books)
    }

    /// Returns whether the right is known to be over.
    pub fn is_lost(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_lost())
    }

    /// Returns once the right is known to be over.
    pub async fn lost(&self) {
        match &self.lease {
            Some(lease) => lease.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Gives the right back, so that the next process need not wait until the lease runs out.
    pub async fn give_back(&self) {
        if let Some(lease) = &self.lease
            && let Err(error) = lease.release().await
        {
            tracing::info!(%error, "the poster's lease was not given back: it runs out by itself");
        }
    }
}
