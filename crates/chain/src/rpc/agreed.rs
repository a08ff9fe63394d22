//! Answers on which several endpoints must agree, so that no decision rests on one endpoint alone.
//! All endpoints are asked about one block, named by its hash, so honest ones cannot differ. The
//! first answer that as many endpoints give as must agree is taken, and endpoints that said
//! something else are named. If too few answer, or no answer has enough votes, nothing is decided:
//! the last known state stays and grows older.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::rest::Turn;
use super::standing::{Standing, shorten};
use super::types::Head;
use super::{Endpoint, Endpoints, PAUSE_WAITED_FOR_MAX, asked_one, more_useful};
use crate::error::ChainError;

/// After this time without a decision, one more endpoint is asked beside those that have not
/// answered yet.
const HEDGE: Duration = Duration::from_secs(1);
/// How long the heads of further endpoints are waited for once enough have told theirs.
const GRACE: Duration = Duration::from_millis(300);

/// The most blocks by which an endpoint may be behind the deciding head, so that an older head is
/// taken which it has.
const HEADS_APART_MAX: u64 = 2;
/// The most endpoints whose problems are reported.
const PROBLEMS_MAX: usize = 16;

/// The public status of the endpoints. An endpoint is named by its position in the configuration,
/// because its host is private.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointsStatus {
    /// The number of configured endpoints.
    pub configured: u64,
    /// How many of them must give the same answer.
    pub agree: u64,
    /// The number of answers that differed from the others' since the process started.
    pub disagreements: u64,
    /// Why nothing is decided at present; `None` if the last attempt decided.
    pub undecided: Option<String>,
    /// The endpoints that fail, or that differed from the others in the last ten minutes, with what
    /// is wrong.
    pub problems: Vec<String>,
    /// The problems that a person should look at. An endpoint that fails once in a while is not
    /// among them.
    pub lasting: Vec<String>,
}

impl EndpointsStatus {
    /// The problems that a person should look at, in one line; `None` if there are none. A service
    /// goes on serving while endpoints differ or fail.
    pub fn problem(&self) -> Option<String> {
        let problems: Vec<&str> = self.undecided.iter().chain(&self.lasting).map(String::as_str).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

/// The number of endpoints that must give the same answer, from the setting `chain.agree`. Without
/// the setting it is 2 of three or more endpoints. Of two endpoints it is 1, because one that is
/// down or lies could otherwise stop everything.
pub fn checked_agree(setting: Option<usize>, endpoints: usize) -> Result<usize, String> {
    match setting {
        None if endpoints >= 3 => Ok(2),
        None => Ok(1),
        Some(agree) if (1..=endpoints).contains(&agree) => Ok(agree),
        Some(agree) => {
            Err(format!("chain.agree = {agree}: at least 1 and at most the {endpoints} URLs of chain.rpc"))
        }
    }
}

/// The requests under way, with the index of their endpoints.
struct Running<W>(Vec<(usize, Pin<Box<W>>)>);

impl<W: Future> Running<W> {
    /// Waits for the next request that ends; `None` if there is none. Requests that have not ended
    /// go on at the next call.
    async fn next(&mut self) -> Option<(usize, W::Output)> {
        poll_fn(|context| {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            let mut ended = None;
            for (place, (_, work)) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(output) = work.as_mut().poll(context) {
                    ended = Some((place, output));
                    break;
                }
            }
            match ended {
                Some((place, output)) => Poll::Ready(Some((self.0.swap_remove(place).0, output))),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// The answers, and the endpoints that gave them.
struct Votes<T> {
    answers: Vec<(T, Vec<usize>)>,
    /// The errors that are neither an answer nor the endpoint's own failure, with the endpoint that
    /// gave each.
    refusals: Vec<(ChainError, usize)>,
    /// The endpoints whose answer cannot be true.
    untrue: Vec<usize>,
    /// The number of endpoints that refused the request.
    refused: usize,
    failure: Option<ChainError>,
}

impl<T> Votes<T> {
    const fn new() -> Self {
        Self { answers: Vec::new(), refusals: Vec::new(), untrue: Vec::new(), refused: 0, failure: None }
    }

    fn count(&mut self, endpoint: usize, result: Result<T, ChainError>, join: &impl Fn(&mut T, &T) -> bool) {
        match result {
            Ok(answer) => match self.answers.iter_mut().position(|(kept, _)| join(kept, &answer)) {
                Some(place) => self.answers[place].1.push(endpoint),
                None => self.answers.push((answer, vec![endpoint])),
            },
            Err(error) if error.is_of_endpoint() => {
                self.refused += usize::from(matches!(error, ChainError::Refused { .. }));
                if matches!(error, ChainError::EventsMissing { .. }) {
                    self.untrue.push(endpoint);
                }
                self.failure = Some(match self.failure.take() {
                    Some(former) => more_useful(former, error),
                    None => error,
                });
            }
            Err(error) => {
                let text = error.to_string();
                match self.refusals.iter_mut().find(|(other, _)| other.to_string() == text) {
                    Some((_, voices)) => *voices += 1,
                    None => self.refusals.push((error, 1)),
                }
            }
        }
    }

    /// The number of votes of the answer that has the most.
    fn most(&self) -> usize {
        let answers = self.answers.iter().map(|(_, voices)| voices.len());
        answers.chain(self.refusals.iter().map(|(_, voices)| *voices)).max().unwrap_or(0)
    }
}

impl Endpoints {
    /// The same endpoints with the rule that `agree` of them must give the same answer; at least
    /// one, at most all.
    #[must_use]
    pub fn agreeing(self, agree: usize) -> Self {
        Self { agree: agree.clamp(1, self.all.len()), ..self }
    }

    /// The present status of the endpoints.
    pub fn status(&self) -> EndpointsStatus {
        let problems = |of: fn(&Standing, &str) -> Option<String>| -> Vec<String> {
            let problems = self.all.iter().filter_map(|endpoint| of(endpoint.standing(), endpoint.name()));
            problems.take(PROBLEMS_MAX).map(|problem| self.without_hosts(problem)).collect()
        };
        EndpointsStatus {
            configured: self.all.len() as u64,
            agree: self.agree as u64,
            disagreements: self.all.iter().map(|endpoint| endpoint.standing().disagreements()).sum(),
            undecided: self.why_undecided().map(|why| self.without_hosts(why)),
            problems: problems(Standing::problem),
            lasting: problems(Standing::lasting_problem),
        }
    }

    /// Replaces the endpoints' hosts in a text by their positions.
    fn without_hosts(&self, text: String) -> String {
        self.all.iter().enumerate().fold(text, |text, (index, endpoint)| {
            text.replace(endpoint.name(), &format!("endpoint {} of chain.rpc", index + 1))
        })
    }

    /// Returns the answer that as many endpoints give as must agree; if one is enough, the first
    /// one's answer. `what` names the request to operators.
    pub(crate) async fn agreed<T, F, W>(&self, what: &'static str, work: F) -> Result<T, ChainError>
    where
        T: PartialEq,
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        self.agreed_by(what, work, T::eq).await
    }

    /// The same, where `same` decides whether two answers are alike.
    pub(crate) async fn agreed_by<T, F, W>(
        &self,
        what: &'static str,
        work: F,
        same: impl Fn(&T, &T) -> bool,
    ) -> Result<T, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        self.agreed_with(what, work, |kept, other| same(kept, other)).await
    }

    /// The same, where `join` decides whether an answer is alike to the one that is kept. `join`
    /// may make the kept answer more careful.
    pub(crate) async fn agreed_with<T, F, W>(
        &self,
        what: &'static str,
        work: F,
        join: impl Fn(&mut T, &T) -> bool,
    ) -> Result<T, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        if self.agree <= 1 {
            return self.first(work).await;
        }
        self.await_turns().await;
        let ask = |index: usize| {
            let endpoint = &self.all[index];
            (index, Box::pin(asked_one(endpoint, self.chain_id, work(endpoint.clone()))))
        };
        let mut votes = Votes::new();
        let (order, resting) = self.order();
        for index in resting {
            let Turn::Not(pause) = self.all[index].turn() else { continue };
            votes.count(index, Err(self.all[index].rate_limited("any request", pause)), &join);
        }
        let mut waiting = order.into_iter();
        let mut running = Running(waiting.by_ref().take(self.agree).map(ask).collect());
        loop {
            let ended = tokio::select! {
                ended = running.next() => ended,
                () = tokio::time::sleep(HEDGE), if waiting.len() > 0 => {
                    running.0.extend(waiting.next().map(ask));
                    continue;
                }
            };
            let Some((index, result)) = ended else { break };
            votes.count(index, result, &join);
            if votes.most() >= self.agree {
                break;
            }
            // If the endpoints asked so far can no longer decide, others are asked too.
            while votes.most() + running.0.len() < self.agree {
                let Some(index) = waiting.next() else { break };
                running.0.push(ask(index));
            }
        }
        self.decide(what, votes)
    }

    /// The deciding block: one that as many endpoints have as must agree, with `confirmations`
    /// blocks on top. It is at most a little older than the newest such block. An endpoint far
    /// ahead of the others, or far behind, does not matter as long as enough others are left.
    pub(super) async fn agreed_head(&self, confirmations: u64) -> Result<Head, ChainError> {
        const WHAT: &str = "the newest block";
        let heads = self.gathered(WHAT, |endpoint| async move { endpoint.head().await }).await?;
        let mut numbers: Vec<u64> = heads.iter().map(|(_, head)| head.block.number).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        // An endpoint that is just a little behind would be missed if another one lies, so a block
        // is chosen that it has, too.
        let newest = numbers[self.agree - 1];
        numbers.retain(|number| *number <= newest);
        numbers.dedup();
        let near = numbers.iter().filter(|number| **number + HEADS_APART_MAX >= newest).count();
        numbers.drain(..near - 1);
        let mut undecided = None;
        for newest in numbers {
            let number = newest.saturating_sub(confirmations);
            let found = self
                .agreed(WHAT, |endpoint| {
                    let told = heads.iter().find(|(index, _)| *index == endpoint.index());
                    let told = told.map(|(_, head)| *head).filter(|head| head.block.number == number);
                    async move {
                        match told {
                            Some(head) => Ok(head),
                            None => endpoint
                                .block_at(number)
                                .await?
                                .ok_or(ChainError::BlockUnknown { block: number }),
                        }
                    }
                })
                .await;
            match found {
                Ok(head) => return Ok(head),
                Err(error) => undecided = undecided.or(Some(error)),
            }
        }
        Err(undecided.unwrap_or(ChainError::NoEndpoint))
    }

    /// Collects the answers of at least as many endpoints as must agree, and of those that are not
    /// much slower. The caller decides what follows from different answers.
    pub(super) async fn gathered<T, F, W>(
        &self,
        what: &'static str,
        work: F,
    ) -> Result<Vec<(usize, T)>, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        self.await_turns().await;
        let ask = |index: usize| {
            let endpoint = &self.all[index];
            (index, Box::pin(asked_one(endpoint, self.chain_id, work(endpoint.clone()))))
        };
        let (order, _) = self.order();
        let (mut answers, mut failure) = (Vec::new(), None);
        let mut running = Running(order.into_iter().map(ask).collect());
        loop {
            let ended = tokio::select! {
                ended = running.next() => ended,
                () = tokio::time::sleep(GRACE), if answers.len() >= self.agree => break,
            };
            match ended {
                Some((index, Ok(answer))) => answers.push((index, answer)),
                Some((_, Err(error))) => failure = failure.or(Some(error)),
                None => break,
            }
        }
        if answers.len() >= self.agree {
            return Ok(answers);
        }
        Err(self.undecided(what, self.too_few(what, answers.len(), failure)))
    }

    /// If too many endpoints asked for a pause, waits until enough may be asked, provided that this
    /// is soon.
    async fn await_turns(&self) {
        let mut pauses: Vec<Duration> = self
            .all
            .iter()
            .filter_map(|endpoint| match endpoint.turn() {
                Turn::Not(pause) => Some(pause),
                Turn::Now | Turn::Last => None,
            })
            .collect();
        pauses.sort_unstable();
        let lacking = self.agree.saturating_sub(self.all.len() - pauses.len());
        let pause = lacking.checked_sub(1).and_then(|last| pauses.get(last));
        if let Some(pause) = pause.filter(|pause| **pause <= PAUSE_WAITED_FOR_MAX) {
            tokio::time::sleep(*pause).await;
        }
    }

    /// The endpoints in the order in which they are asked, and those that are not asked.
    fn order(&self) -> (Vec<usize>, Vec<usize>) {
        let of = |wanted: fn(Turn) -> bool| {
            (0..self.all.len()).filter(move |index| wanted(self.all[*index].turn()))
        };
        let asked = of(|turn| turn == Turn::Now).chain(of(|turn| turn == Turn::Last)).collect();
        (asked, of(|turn| matches!(turn, Turn::Not(_))).collect())
    }

    fn decide<T>(&self, what: &'static str, votes: Votes<T>) -> Result<T, ChainError> {
        let Votes { mut answers, refusals, untrue, refused, failure } = votes;
        if let Some(place) = answers.iter().position(|(_, voices)| voices.len() >= self.agree) {
            let (answer, _) = answers.swap_remove(place);
            let others: Vec<usize> =
                answers.into_iter().flat_map(|(_, voices)| voices).chain(untrue).collect();
            self.disagreed(what, &others);
            self.decided(what);
            return Ok(answer);
        }
        if let Some((refusal, _)) = refusals.into_iter().find(|(_, voices)| *voices >= self.agree) {
            self.decided(what);
            return Err(refusal);
        }
        let names = |voices: &[usize]| {
            voices.iter().map(|index| self.all[*index].name()).collect::<Vec<_>>().join(" and ")
        };
        let error = if answers.len() > 1 {
            // Nothing shows which of them is wrong, so none is blamed.
            let endpoints: Vec<String> = answers.iter().map(|(_, voices)| names(voices)).collect();
            ChainError::Disagree { what, agree: self.agree, endpoints: endpoints.join(" against ") }
        } else {
            let answered = answers.first().map_or(0, |(_, voices)| voices.len());
            match failure {
                // So many endpoints refuse the request that the refusal is the answer.
                Some(error @ ChainError::Refused { .. }) if refused >= self.agree => error,
                failure => self.too_few(what, answered, failure),
            }
        };
        Err(self.undecided(what, error))
    }

    fn too_few(&self, what: &'static str, answered: usize, failure: Option<ChainError>) -> ChainError {
        let reason = failure.map_or_else(|| "no other answered".to_owned(), |error| error.to_string());
        ChainError::TooFewAgree { what, agree: self.agree, answered, reason: shorten(&reason) }
    }

    /// Notes, for the status, why nothing was decided.
    fn undecided(&self, what: &'static str, error: ChainError) -> ChainError {
        self.lock_undecided().insert(what, (Instant::now(), error.to_string()));
        error
    }

    pub(super) fn decided(&self, what: &'static str) {
        self.lock_undecided().remove(what);
    }

    /// Notes that these endpoints said something else than the others: it is logged once, and then
    /// stays in the status.
    pub(super) fn disagreed(&self, what: &'static str, endpoints: &[usize]) {
        for index in endpoints {
            let endpoint = &self.all[*index];
            if endpoint.standing().disagreed(what) {
                tracing::warn!(
                    endpoint = endpoint.name(),
                    what,
                    "an L1 endpoint says something else than others do: it lies, is broken or follows another chain"
                );
            }
        }
    }
}
