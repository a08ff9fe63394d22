//! What an operator is told about one endpoint: whether it fails, and whether it said something
//! else than the others.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a disagreement is reported. An endpoint that leaves out events agrees about all blocks
/// without events, so agreeing now does not show that it will go on.
pub(super) const TOLD_FOR: Duration = Duration::from_secs(600);
/// An endpoint that has failed for this long needs a person. Shorter failures are usual, and other
/// endpoints are asked meanwhile.
const LASTING_AFTER: Duration = Duration::from_secs(60);
/// The greatest length of a problem's text, in characters.
const TEXT_MAX_CHARS: usize = 240;

/// What is known about one endpoint.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When it last said something else than the others, and about what.
    disagreed: Option<(Instant, &'static str)>,
    disagreements: u64,
    /// Why it did not answer when it was last asked.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    /// The first failure since the endpoint last answered.
    since: Instant,
    /// The last failure.
    last: Instant,
    why: String,
}

impl Failure {
    /// Whether the endpoint has failed for long, and failed recently: a reserve endpoint may not
    /// have been asked since.
    fn is_lasting(&self, now: Instant) -> bool {
        self.last.duration_since(self.since) >= LASTING_AFTER && now.duration_since(self.last) <= TOLD_FOR
    }
}

impl Standing {
    /// Notes that the endpoint answered.
    pub(super) fn answered(&self) {
        self.state(|state| state.failure = None);
    }

    /// Notes that the endpoint did not answer.
    pub(super) fn failed(&self, why: &dyn std::fmt::Display) {
        self.failed_at(why, Instant::now());
    }

    fn failed_at(&self, why: &dyn std::fmt::Display, now: Instant) {
        let why = shorten(&why.to_string());
        self.state(|state| {
            let since = state.failure.as_ref().map_or(now, |failure| failure.since);
            state.failure = Some(Failure { since, last: now, why });
        });
    }

    /// Notes that the endpoint said something else than the others. Returns whether that is new.
    pub(super) fn disagreed(&self, what: &'static str) -> bool {
        self.disagreed_at(what, Instant::now())
    }

    fn disagreed_at(&self, what: &'static str, now: Instant) -> bool {
        self.state(|state| {
            let former = state.disagreed.replace((now, what));
            state.disagreements = state.disagreements.saturating_add(1);
            former.is_none_or(|(at, _)| now.duration_since(at) > TOLD_FOR)
        })
    }

    pub(super) fn disagreements(&self) -> u64 {
        self.state(|state| state.disagreements)
    }

    /// The endpoint's present problem, if there is one.
    pub(super) fn problem(&self, name: &str) -> Option<String> {
        self.problem_at(name, Instant::now())
    }

    fn problem_at(&self, name: &str, now: Instant) -> Option<String> {
        self.state(|state| match (&state.disagreed, &state.failure) {
            (Some((at, what)), _) if now.duration_since(*at) <= TOLD_FOR => {
                let ago = now.duration_since(*at).as_secs();
                Some(format!("{name}: {what} differs from what the other endpoints say, last {ago}s ago"))
            }
            (_, Some(Failure { why, .. })) if why.contains(name) => Some(why.clone()),
            (_, failure) => failure.as_ref().map(|failure| format!("{name}: {}", failure.why)),
        })
    }

    /// The endpoint's present problem if a person should look at it.
    pub(super) fn lasting_problem(&self, name: &str) -> Option<String> {
        self.lasting_problem_at(name, Instant::now())
    }

    fn lasting_problem_at(&self, name: &str, now: Instant) -> Option<String> {
        let is_lasting = self.state(|state| {
            let disagreed = state.disagreed.is_some_and(|(at, _)| now.duration_since(at) <= TOLD_FOR);
            disagreed || state.failure.as_ref().is_some_and(|failure| failure.is_lasting(now))
        });
        if is_lasting { self.problem_at(name, now) } else { None }
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(TEXT_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disagreement_is_told_for_a_while_and_a_failure_until_it_answers() {
        let (standing, now) = (Standing::default(), Instant::now());
        let problem = |at| standing.problem_at("a:1", at);
        assert_eq!(problem(now), None);
        standing.failed(&"a:1: no answer");
        assert_eq!(problem(now).unwrap(), "a:1: no answer");
        assert!(standing.disagreed_at("the head", now) && !standing.disagreed_at("the head", now));
        standing.answered();
        let told = problem(now + TOLD_FOR).unwrap();
        assert_eq!(told, "a:1: the head differs from what the other endpoints say, last 600s ago");
        let later = now + TOLD_FOR + Duration::from_secs(1);
        assert_eq!((problem(later), standing.disagreements()), (None, 2));
        assert!(standing.disagreed_at("the head", later), "it is news again");
        assert_eq!(standing.lasting_problem_at("a:1", later), problem(later));
    }

    #[test]
    fn a_failure_needs_a_person_once_it_has_lasted_and_while_it_is_not_long_ago() {
        let (standing, begun) = (Standing::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let lasting = |seconds| standing.lasting_problem_at("a:1", at(seconds));
        standing.failed_at(&"no answer", at(0));
        assert_eq!(lasting(300), None, "once");
        standing.failed_at(&"no answer", at(30));
        standing.answered();
        standing.failed_at(&"no answer", at(61));
        assert_eq!(lasting(61), None, "it answered meanwhile");
        standing.failed_at(&"status 503", at(121));
        assert_eq!(lasting(121).unwrap(), "a:1: status 503");
        assert_eq!(lasting(721).unwrap(), "a:1: status 503");
        assert_eq!(lasting(722), None, "it was not asked again");
        assert_eq!(standing.problem_at("a:1", at(722)).unwrap(), "a:1: status 503");
        standing.answered();
        assert_eq!((lasting(122), standing.problem_at("a:1", at(122))), (None, None));
    }
}
