//! What processes that share one store do by turns: batches have an owner each, and one process
//! posts.

use std::fmt;
use std::sync::Arc;

use dac_database::KeptLease;
use dac_poster::PosterStore;

use crate::batch::SubmissionDigest;

/// Which batches a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Those with a certificate too: it is the one that posts.
    pub posting: bool,
    /// Name also those that it owned before.
    pub all: bool,
}

/// What a claim led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// Batches of this process to be worked on, oldest first.
    pub work: Vec<SubmissionDigest>,
    /// Batches of this process that another one changed.
    pub touched: Vec<SubmissionDigest>,
}

/// The right to post, for as long as it lasts, and the books to post by.
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
    /// Of a process that has the store to itself.
    pub fn alone(books: Arc<dyn PosterStore>) -> Self {
        Self { books, lease: None }
    }

    /// By a lease, which the books ask for with every change.
    pub(super) fn by(lease: Arc<KeptLease>, books: Arc<dyn PosterStore>) -> Self {
        Self { books, lease: Some(lease) }
    }

    /// The poster's books. They refuse changes once the right is somebody else's.
    pub fn books(&self) -> Arc<dyn PosterStore> {
        Arc::clone(&self.books)
    }

    /// Whether it is known to be over.
    pub fn is_lost(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_lost())
    }

    /// Returns once it is known to be over.
    pub async fn lost(&self) {
        match &self.lease {
            Some(lease) => lease.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Gives it back, so that the next one has not to wait.
    pub async fn give_back(&self) {
        if let Some(lease) = &self.lease
            && let Err(error) = lease.release().await
        {
            tracing::info!(%error, "the poster's lease was not given back: it runs out by itself");
        }
    }
}
