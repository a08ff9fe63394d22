//! The auditor: a host that retrieves a batch with the production client when the world asks it to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_client::{Directory, Hint, Patience, RetrieveOptions, Retriever};
use dac_types::{B256, BatchDigest};
use parking_lot::Mutex;

use crate::cast::{Cast, DOMAIN};
use crate::network::dialer;

/// How often it looks for a request.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The payload of a batch and the digest of its submission, or the reason why it was not retrieved.
pub(crate) type Answer = Result<(B256, Bytes), String>;

/// Returns options for members that answer fast if they are there.
pub(crate) fn retrieve_options() -> RetrieveOptions {
    RetrieveOptions {
        patience: Patience { answer: Duration::from_secs(1), ..Patience::default() },
        hedge_after: Duration::from_millis(300),
        spares_max: 8,
        attempts_max: 3,
        deadline: Duration::from_secs(9),
    }
}

/// The auditor. Clones share their state.
#[derive(Clone)]
pub(crate) struct Auditor {
    cast: Arc<Cast>,
    state: Arc<Mutex<(Option<BatchDigest>, Option<Answer>)>>,
}

impl Auditor {
    pub(crate) fn new(cast: Arc<Cast>) -> Self {
        Self { cast, state: Arc::default() }
    }

    /// Asks the auditor to retrieve this batch.
    pub(crate) fn ask(&self, digest: BatchDigest) {
        *self.state.lock() = (Some(digest), None);
    }

    /// Takes the answer to the last request, if there is one.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.state.lock().1.take()
    }

    /// Answers requests until the host is killed.
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
