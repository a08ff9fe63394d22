//! Verifies the certificates that come with records. Certificates that arrive during a verification
//! wait and are verified together. The checked keys of the committees used last are kept.
//!
//! A check is two pairings, which cost far more than the request that asks for it. So turns go
//! round between rollups, and between the clients of each. A certificate that came without the
//! order of an admitted rollup has few turns. A client that brings false certificates has to wait.
//! A certificate that was false is refused again without a second check.

mod suspects;

use std::sync::Arc;
use std::time::Duration;

use dac_admission::FairQueue;
use dac_bls::{CertificateError, CheckedCertificate, CommitteeKeys, SeatKeyError};
use dac_proto::reason::Reason;
use dac_types::{AggregateAttestation, B256, BatchHeader, Certificate, Committee, Domain, keccak256};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::suspects::{RefusedBefore, Suspects};
use crate::limits::{ClientKey, Group};
use crate::verify::work_reason;
use dac_runtime::workers::{Lane, WorkError, Workers};

/// The number of committees whose keys are kept. Checking 256 keys takes tens of milliseconds.
const COMMITTEES_KEPT: usize = 8;
/// The largest number of certificates verified together. More would save little, and a bad one
/// costs each of the others a check of its own.
const TOGETHER_MAX: usize = 32;
/// The largest number of certificates that wait: half a second of checks if each is checked alone.
const WAITING_MAX: usize = 256;
/// The time from one check of a stranger's certificate to the next. Strangers are callers whose
/// record has no order of an admitted rollup.
const STRANGERS_PAUSE: Duration = Duration::from_millis(50);
/// The time after which a client should ask again if too many certificates wait.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Why the certificate of a record was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordCertificateError {
    /// The certificate does not verify.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The committee's own keys are invalid. L1 checked them, so the fault is this member's or that
    /// of its L1 endpoint.
    #[error(transparent)]
    Keys(#[from] SeatKeyError),
    /// The computation was not done.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// Too many certificates wait to be checked.
    #[error("{WAITING_MAX} certificates wait to be checked; try again")]
    Crowded,
    /// This client brought false certificates.
    #[error("this client brought false certificates; try again in {} ms", .retry_after.as_millis())]
    Suspect {
        /// The time after which a certificate of this client is checked again.
        retry_after: Duration,
    },
}

impl RecordCertificateError {
    /// Returns the reason that is sent to the caller.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Certificate(_) => Reason::BadCertificate,
            Self::Keys(_) => Reason::Internal,
            Self::Work(error) => work_reason(*error),
            Self::Crowded => Reason::Busy,
            Self::Suspect { .. } => Reason::RateLimited,
        }
    }

    /// Returns the time after which to try again, if that may help.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Certificate(_) | Self::Keys(_) => None,
            Self::Work(_) | Self::Crowded => Some(RETRY_AFTER),
            Self::Suspect { retry_after } => Some(*retry_after),
        }
    }
}

type Verdict = Result<CheckedCertificate, RecordCertificateError>;

/// Verifies certificates. Clones share their state.
#[derive(Clone, Debug)]
pub struct CertificateChecker {
    domain: Domain,
    workers: Workers,
    state: Arc<Mutex<State>>,
    /// Notified when a certificate begins to wait.
    came: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    /// The committees whose keys are kept. The one used last is at the end.
    kept: Vec<Kept>,
    waiting: FairQueue<Group, ClientKey, Asked>,
    suspects: Suspects,
    /// The time from which the next certificate of a stranger may be checked.
    strangers_next: Instant,
    /// Whether a task serves the certificates that wait.
    is_served: bool,
}

#[derive(Debug)]
struct Kept {
    committee: Arc<Committee>,
    keys: Arc<CommitteeKeys>,
    refused: RefusedBefore,
}

#[derive(Debug)]
struct Asked {
    committee: Arc<Committee>,
    certificate: Certificate,
    identity: B256,
    reply: oneshot::Sender<Verdict>,
}

/// What the task that serves the queue does next.
enum Next {
    /// It verifies these certificates, of one committee and one client.
    Verify(ClientKey, Vec<Asked>),
    /// It waits until this time, when strangers have their turn.
    Wait(Instant),
    /// It ends, because no certificate waits.
    End,
}

impl CertificateChecker {
    /// Makes a checker for one domain.
    pub fn new(domain: Domain, workers: &Workers) -> Self {
        let state = State {
            kept: Vec::new(),
            waiting: FairQueue::new(WAITING_MAX),
            suspects: Suspects::default(),
            strangers_next: Instant::now(),
            is_served: false,
        };
        let (workers, state) = (workers.lane(Lane::Certificates), Arc::new(Mutex::new(state)));
        Self { domain, workers, state, came: Arc::default() }
    }

    /// Checks that a quorum of `committee` signed this header. The check counts as one of `group`
    /// and `client`.
    pub async fn check(
        &self,
        group: Group,
        client: ClientKey,
        committee: &Arc<Committee>,
        header: &BatchHeader,
        aggregate: &AggregateAttestation,
    ) -> Verdict {
        let certificate = Certificate { header: header.clone(), aggregate: aggregate.clone() };
        let identity = identity(&certificate, &self.domain);
        let (reply, verdict) = oneshot::channel();
        let asked = Asked { committee: Arc::clone(committee), certificate, identity, reply };
        // The checks run in a task of their own: the caller that started it may go away before the
        // others have their verdicts.
        if !self.wait(group, client, asked)? {
            tokio::spawn(self.clone().serve());
        }
        self.came.notify_one();
        // The reply is dropped when this certificate had to make room for another one.
        verdict.await.unwrap_or(Err(RecordCertificateError::Crowded))
    }

    /// Puts a certificate into the queue. Returns whether a task already serves the queue.
    fn wait(&self, group: Group, client: ClientKey, asked: Asked) -> Result<bool, RecordCertificateError> {
        let mut state = self.state.lock();
        let kept = state.kept.iter().find(|kept| Arc::ptr_eq(&kept.committee, &asked.committee));
        if let Some(error) = kept.and_then(|kept| kept.refused.get(&asked.identity)) {
            return Err(error.into());
        }
        if let Some(retry_after) = state.suspects.must_wait(client, Instant::now()) {
            return Err(RecordCertificateError::Suspect { retry_after });
        }
        if state.waiting.len() >= WAITING_MAX {
            // A certificate whose caller has gone away is not verified.
            state.waiting.retain(|asked| !asked.reply.is_closed());
        }
        state.waiting.push(group, client, asked).map_err(|_| RecordCertificateError::Crowded)?;
        Ok(std::mem::replace(&mut state.is_served, true))
    }

    async fn serve(self) {
        loop {
            match self.next() {
                Next::Verify(client, asked) => {
                    let (this, committee) = (self.clone(), Arc::clone(&asked[0].committee));
                    // If the computation is lost, its replies are dropped, and that tells the
                    // callers.
                    let _ = self.workers.run(move || this.reply(&committee, client, asked)).await;
                }
                Next::Wait(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = self.came.notified() => {}
                    }
                }
                Next::End => return,
            }
        }
    }

    /// Takes the certificate whose turn it is, with others of its client and committee.
    fn next(&self) -> Next {
        let mut state = self.state.lock();
        let state = &mut *state;
        let waiting = &mut state.waiting;
        waiting.retain(|asked| !asked.reply.is_closed());
        let now = Instant::now();
        let may_strangers = now >= state.strangers_next;
        let Some((group, client, first)) = waiting.pop(|group| group != Group::STRANGERS || may_strangers)
        else {
            if !waiting.is_empty() {
                return Next::Wait(state.strangers_next);
            }
            state.is_served = false;
            return Next::End;
        };
        if group == Group::STRANGERS {
            state.strangers_next = now + STRANGERS_PAUSE;
            return Next::Verify(client, vec![first]);
        }
        let room = state.suspects.together(client, TOGETHER_MAX).saturating_sub(1);
        let fits = |group, asked: &Asked| {
            group != Group::STRANGERS && Arc::ptr_eq(&asked.committee, &first.committee)
        };
        let mut together = waiting.pop_more(client, room, fits);
        together.insert(0, first);
        Next::Verify(client, together)
    }

    fn reply(&self, committee: &Arc<Committee>, client: ClientKey, asked: Vec<Asked>) {
        let mut certificates = Vec::with_capacity(asked.len());
        let mut replies = Vec::with_capacity(asked.len());
        for Asked { certificate, identity, reply, .. } in asked {
            certificates.push(certificate);
            replies.push((identity, reply));
        }
        let verdicts: Vec<Verdict> = match self.keys(committee) {
            Ok(keys) => {
                let verdicts = keys.verify_certificates(&certificates, &self.domain).into_iter();
                verdicts.map(|verdict| verdict.map_err(RecordCertificateError::from)).collect()
            }
            Err(error) => certificates.iter().map(|_| Err(error.into())).collect(),
        };
        for ((identity, reply), verdict) in replies.into_iter().zip(verdicts) {
            self.remember(committee, client, identity, &verdict);
            // The caller may have gone away.
            let _ = reply.send(verdict);
        }
    }

    fn remember(&self, committee: &Arc<Committee>, client: ClientKey, identity: B256, verdict: &Verdict) {
        let (mut state, now) = (self.state.lock(), Instant::now());
        match verdict {
            Ok(_) => state.suspects.was_true(client, TOGETHER_MAX, now),
            Err(RecordCertificateError::Certificate(error)) => {
                state.suspects.was_false(client, now);
                if let Some(kept) = state.kept.iter_mut().find(|kept| Arc::ptr_eq(&kept.committee, committee))
                {
                    kept.refused.add(identity, error.clone());
                }
            }
            Err(_) => {}
        }
    }

    fn keys(&self, committee: &Arc<Committee>) -> Result<Arc<CommitteeKeys>, SeatKeyError> {
        if let Some(keys) = self.state.lock().used(committee) {
            return Ok(keys);
        }
        let keys = Arc::new(CommitteeKeys::new(committee)?);
        let mut state = self.state.lock();
        state.kept.retain(|kept| kept.committee.epoch() != committee.epoch());
        if state.kept.len() >= COMMITTEES_KEPT {
            state.kept.remove(0);
        }
        let (committee, refused) = (Arc::clone(committee), RefusedBefore::default());
        state.kept.push(Kept { committee, keys: Arc::clone(&keys), refused });
        Ok(keys)
    }
}

impl State {
    /// Returns the kept keys of a committee, which thereby becomes the one used last.
    fn used(&mut self, committee: &Arc<Committee>) -> Option<Arc<CommitteeKeys>> {
        let place = self.kept.iter().position(|kept| Arc::ptr_eq(&kept.committee, committee))?;
        let kept = self.kept.remove(place);
        let keys = Arc::clone(&kept.keys);
        self.kept.push(kept);
        Some(keys)
    }
}

/// Hashes what distinguishes a certificate from all others of its domain.
fn identity(certificate: &Certificate, domain: &Domain) -> B256 {
    let Certificate { header, aggregate } = certificate;
    let digest = header.digest(domain);
    keccak256([&digest.as_bytes()[..], &aggregate.signature.0, aggregate.absent.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::join_all;

    use super::*;
    use crate::testing::{EPOCH, ROLLUP, World};

    const CLIENT: ClientKey = ClientKey::V4([10, 0, 0, 1]);
    const GROUP: Group = Group { rollup: Some(ROLLUP), is_known: true };

    #[tokio::test]
    async fn each_of_many_at_once_gets_its_own_verdict() {
        let world = World::new();
        let committee = Arc::new(world.committee(EPOCH, 0, u64::MAX));
        let checker = CertificateChecker::new(world.domain, &Workers::threads());
        let checks = (0..3 * TOGETHER_MAX).map(|place| {
            let (world, checker, committee) = (&world, checker.clone(), &committee);
            async move {
                let mut batch = world.batch(place as u64, 100);
                let aggregate = world.certify(&batch);
                let is_bad = place % 40 == 7;
                batch.header.expires_at += u64::from(is_bad);
                let verdict = checker.check(GROUP, CLIENT, committee, &batch.header, &aggregate).await;
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
        join_all(checks).await;
        // A caller that goes away before its turn is not waited for.
        let batch = world.batch(1, 100);
        let aggregate = world.certify(&batch);
        for _ in 0..3 {
            let asked = checker.check(GROUP, CLIENT, &committee, &batch.header, &aggregate);
            assert!(asked.now_or_never().is_none(), "it is asked once, and dropped");
        }
        let checked = checker.check(GROUP, CLIENT, &committee, &batch.header, &aggregate).await;
        assert_eq!(checked.unwrap().digest(), batch.digest);
        let state = checker.state.lock();
        assert_eq!((state.waiting.len(), state.kept.len()), (0, 1));
    }

    /// Brings false certificates of a client, each different.
    async fn attack(
        checker: &CertificateChecker,
        world: &World,
        group: Group,
        client: ClientKey,
        numbers: std::ops::Range<u64>,
    ) -> Vec<Verdict> {
        let committee = Arc::new(world.committee(EPOCH, 0, u64::MAX));
        let false_ones = numbers.map(|number| {
            let (mut batch, committee) = (world.batch(1, 100), &committee);
            let aggregate = world.certify(&batch);
            batch.header.batch_number = 1000 + number;
            async move { checker.check(group, client, committee, &batch.header, &aggregate).await }
        });
        join_all(false_ones).await
    }

    #[tokio::test]
    async fn what_was_false_once_is_false_without_a_check_and_its_client_waits() {
        let world = World::new();
        let committee = Arc::new(world.committee(EPOCH, 0, u64::MAX));
        let checker = CertificateChecker::new(world.domain, &Workers::threads());
        let batch = world.batch(1, 100);
        let forged = world.certify(&world.batch(2, 100));
        for _ in 0..100 {
            let verdict = checker.check(GROUP, CLIENT, &committee, &batch.header, &forged).await;
            assert_eq!(verdict, Err(CertificateError::Forged.into()), "it is held against the client once");
        }
        let mut number = 0;
        let retry_after = loop {
            let verdicts = attack(&checker, &world, GROUP, CLIENT, number..number + 1).await;
            if let [Err(RecordCertificateError::Suspect { retry_after })] = verdicts[..] {
                break retry_after;
            }
            number += 1;
        };
        assert!(retry_after <= Duration::from_secs(1), "{retry_after:?}");
        // Another client of the same rollup is served.
        let good = world.certify(&batch);
        let other = ClientKey::V4([10, 0, 0, 2]);
        checker.check(GROUP, other, &committee, &batch.header, &good).await.unwrap();
    }

    #[tokio::test]
    async fn a_flood_of_false_ones_keeps_no_true_one_out() {
        let world = World::new();
        let committee = Arc::new(world.committee(EPOCH, 0, u64::MAX));
        let checker = CertificateChecker::new(world.domain, &Workers::threads());
        let strangers_of_the_rollup = Group { is_known: false, ..GROUP };
        let floods = (0..16_u8).map(|number| {
            let client = ClientKey::V4([10, 0, 1, number]);
            let group = if number % 2 == 0 { Group::STRANGERS } else { strangers_of_the_rollup };
            let numbers = u64::from(number) * 64..u64::from(number + 1) * 64;
            attack(&checker, &world, group, client, numbers)
        });
        let honest = async {
            while checker.state.lock().waiting.len() < WAITING_MAX / 2 {
                tokio::task::yield_now().await;
            }
            let checks = (1..=8).map(|number| {
                let batch = world.batch(number, 100);
                let (aggregate, checker, committee) = (world.certify(&batch), &checker, &committee);
                async move { checker.check(GROUP, CLIENT, committee, &batch.header, &aggregate).await }
            });
            for verdict in join_all(checks).await {
                verdict.unwrap();
            }
        };
        tokio::select! {
            () = honest => {}
            _ = join_all(floods) => panic!("the flood was over before the true certificates were checked"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_have_a_turn_now_and_then() {
        let world = World::new();
        let checker = CertificateChecker::new(world.domain, &Workers::inline());
        let began = Instant::now();
        let verdicts = attack(&checker, &world, Group::STRANGERS, CLIENT, 0..5).await;
        assert!(verdicts.iter().all(|verdict| *verdict == Err(CertificateError::Forged.into())));
        assert!(began.elapsed() >= 4 * STRANGERS_PAUSE, "{:?}", began.elapsed());
        assert!(checker.state.lock().waiting.is_empty());
    }
}
