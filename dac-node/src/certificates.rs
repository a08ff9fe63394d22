//! Verifies the certificates that come with records: those that come while others are verified, together. Keeps the checked keys of the
//! committees used last.

use std::sync::Arc;

use dac_bls::{CertificateError, CheckedCertificate, CommitteeKeys, SeatKeyError};
use dac_proto::reason::Reason;
use dac_types::{AggregateAttestation, BatchHeader, Certificate, Committee, Domain};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

use dac_runtime::workers::{WorkLost, Workers};

/// Committees whose keys are kept: checking 256 keys takes tens of milliseconds.
const COMMITTEES_KEPT: usize = 8;
/// Certificates verified together, at most: more save little, and one bad one costs each of the others a check of its own.
const TOGETHER_MAX: usize = 32;

/// Why a record's certificate is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordCertificateError {
    /// It does not verify.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The committee's own keys are no keys: L1 checked them, so this is a fault of ours or of the L1 endpoint.
    #[error(transparent)]
    Keys(#[from] SeatKeyError),
    /// The computation was lost.
    #[error(transparent)]
    Work(#[from] WorkLost),
}

impl RecordCertificateError {
    /// The reason that travels to the caller.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Certificate(_) => Reason::BadCertificate,
            Self::Keys(_) | Self::Work(_) => Reason::Internal,
        }
    }
}

type Verdict = Result<CheckedCertificate, RecordCertificateError>;

/// Verifies certificates. Clones are the same.
#[derive(Clone, Debug)]
pub struct CertificateChecker {
    domain: Domain,
    workers: Workers,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The one used last at the end.
    kept: Vec<(Arc<Committee>, Arc<CommitteeKeys>)>,
    waiting: Vec<Asked>,
    /// Whether a task looks after those that wait.
    is_served: bool,
}

#[derive(Debug)]
struct Asked {
    committee: Arc<Committee>,
    certificate: Certificate,
    reply: oneshot::Sender<Verdict>,
}

impl CertificateChecker {
    /// Of one domain.
    pub fn new(domain: Domain, workers: Workers) -> Self {
        Self { domain, workers, state: Arc::default() }
    }

    /// Checks that a quorum of `committee` signed this header.
    pub async fn check(
        &self,
        committee: &Arc<Committee>,
        header: &BatchHeader,
        aggregate: &AggregateAttestation,
    ) -> Verdict {
        let (reply, verdict) = oneshot::channel();
        let certificate = Certificate { header: header.clone(), aggregate: aggregate.clone() };
        let is_served = {
            let mut state = self.state.lock();
            state.waiting.push(Asked { committee: Arc::clone(committee), certificate, reply });
            std::mem::replace(&mut state.is_served, true)
        };
        // A task of its own: whoever asked first may go away before the others have their verdicts.
        if !is_served {
            tokio::spawn(self.clone().serve());
        }
        verdict.await.unwrap_or(Err(RecordCertificateError::Work(WorkLost)))
    }

    async fn serve(self) {
        while let Some(asked) = self.next() {
            let (this, committee) = (self.clone(), Arc::clone(&asked[0].committee));
            // Where the computation is lost, so are their ways to reply, which tells them.
            let _ = self.workers.run(move || this.reply(&committee, asked)).await;
        }
    }

    /// The one that waits longest, and others of its committee; none ends the task.
    fn next(&self) -> Option<Vec<Asked>> {
        let mut state = self.state.lock();
        // Nothing is verified for who has gone away.
        state.waiting.retain(|asked| !asked.reply.is_closed());
        let Some(first) = state.waiting.first() else {
            state.is_served = false;
            return None;
        };
        let committee = Arc::clone(&first.committee);
        let mut room = TOGETHER_MAX;
        let together = |asked: &mut Asked| {
            let is_one = room > 0 && Arc::ptr_eq(&asked.committee, &committee);
            room -= usize::from(is_one);
            is_one
        };
        Some(state.waiting.extract_if(.., together).collect())
    }

    fn reply(&self, committee: &Arc<Committee>, asked: Vec<Asked>) {
        let (certificates, replies): (Vec<_>, Vec<_>) =
            asked.into_iter().map(|asked| (asked.certificate, asked.reply)).unzip();
        let verdicts: Vec<Verdict> = match self.keys(committee) {
            Ok(keys) => {
                let verdicts = keys.verify_certificates(&certificates, &self.domain).into_iter();
                verdicts.map(|verdict| verdict.map_err(RecordCertificateError::from)).collect()
            }
            Err(error) => certificates.iter().map(|_| Err(error.into())).collect(),
        };
        for (reply, verdict) in replies.into_iter().zip(verdicts) {
            // Who asked may have gone away.
            let _ = reply.send(verdict);
        }
    }

    fn keys(&self, committee: &Arc<Committee>) -> Result<Arc<CommitteeKeys>, SeatKeyError> {
        let found = {
            let state = self.state.lock();
            state.kept.iter().find(|(of, _)| Arc::ptr_eq(of, committee)).map(|(_, keys)| Arc::clone(keys))
        };
        let keys = match found {
            Some(keys) => keys,
            None => Arc::new(CommitteeKeys::new(committee)?),
        };
        let mut state = self.state.lock();
        state.kept.retain(|(committee_kept, _)| committee_kept.epoch() != committee.epoch());
        if state.kept.len() >= COMMITTEES_KEPT {
            state.kept.remove(0);
        }
        state.kept.push((Arc::clone(committee), Arc::clone(&keys)));
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::testing::{EPOCH, World};

    #[tokio::test]
    async fn each_of_many_at_once_gets_its_own_verdict() {
        let world = World::new();
        let committee = Arc::new(world.committee(EPOCH, 0, u64::MAX));
        let checker = CertificateChecker::new(world.domain, Workers::threads());
        let checks = (0..3 * TOGETHER_MAX).map(|place| {
            let (world, checker, committee) = (&world, checker.clone(), &committee);
            async move {
                let mut batch = world.batch(place as u64, 100);
                let aggregate = world.certify(&batch);
                let is_bad = place % 40 == 7;
                batch.header.expires_at += u64::from(is_bad);
                let verdict = checker.check(committee, &batch.header, &aggregate).await;
                match verdict {
                    Ok(checked) => {
                        assert!(!is_bad, "{place}");
                        assert_eq!(checked.header(), &batch.header);
                    }
                    Err(error) => {
                        assert!(is_bad, "{place}: {error}");
                        assert_eq!(error, CertificateError::Forged.into());
                    }
                }
            }
        });
        futures::future::join_all(checks).await;
        // Whoever goes away before its turn is not waited for.
        let batch = world.batch(1, 100);
        let aggregate = world.certify(&batch);
        for _ in 0..3 {
            let asked = checker.check(&committee, &batch.header, &aggregate);
            assert!(asked.now_or_never().is_none(), "it is asked once, and dropped");
        }
        let checked = checker.check(&committee, &batch.header, &aggregate).await;
        assert_eq!(checked.unwrap().digest(), batch.digest);
        let state = checker.state.lock();
        assert_eq!((state.waiting.len(), state.kept.len()), (0, 1));
    }
}
