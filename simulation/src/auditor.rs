//! Somebody who retrieves a batch with the production client, when asked to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_client::{Directory, Hint, Patience, RetrieveOptions, Retriever};
use dac_types::{B256, BatchDigest};
use parking_lot::Mutex;

use crate::cast::{Cast, DOMAIN};
use crate::disperser::dialer;

/// How often it looks whether it was asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The payload of a batch and its submission's digest, or why there is none.
pub(crate) type Answer = Result<(B256, Bytes), String>;

/// Patience with members that are near, if they are there.
pub(crate) fn retrieve_options() -> RetrieveOptions {
    RetrieveOptions {
        patience: Patience { answer: Duration::from_secs(1), ..Patience::default() },
        hedge_after: Duration::from_millis(300),
        spares_max: 8,
        attempts_max: 3,
        deadline: Duration::from_secs(9),
    }
}

/// The auditor. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Auditor {
    cast: Arc<Cast>,
    state: Arc<Mutex<(Option<BatchDigest>, Option<Answer>)>>,
}

impl Auditor {
    pub(crate) fn new(cast: Arc<Cast>) -> Self {
        Self { cast, state: Arc::default() }
    }

    /// Retrieve this batch.
    pub(crate) fn ask(&self, digest: BatchDigest) {
        *self.state.lock() = (Some(digest), None);
    }

    /// What came of it.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.state.lock().1.take()
    }

    /// Runs for good.
    pub(crate) async fn run(self) -> turmoil::Result {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let asked = self.state.lock().0.take();
            if let Some(digest) = asked {
                let answer = self.retrieve(digest).await;
                self.state.lock().1 = Some(answer);
            }
        }
    }

    async fn retrieve(&self, digest: BatchDigest) -> Answer {
        let committees = [Arc::clone(&self.cast.committee)];
        let directory = Directory::new(DOMAIN, committees).map_err(|error| error.to_string())?;
        let retriever = Retriever::new(Arc::new(directory), dialer(), retrieve_options());
        let hint = Hint { recorded_at: Some(crate::cast::NOW), ..Hint::default() };
        let retrieved = retriever.retrieve(digest, &hint, |_| {}).await.map_err(|error| error.to_string())?;
        let submission = retrieved.record.record().submission.submission.digest(&DOMAIN);
        Ok((submission, retrieved.payload))
    }
}
