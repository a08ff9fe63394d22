//! The reasons why a batch makes no progress, as its aggregator gives them, without repetitions.

use std::collections::HashSet;
use std::fmt;

use dac_types::Seat;

use crate::status::{BatchStatus, DeliveryState};

/// The most obstacles that are remembered as reported. Further ones of an aggregator that invents
/// more are ignored.
const TOLD_MAX: usize = 4096;

/// A reason why a batch makes no progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The members that give this reason; empty if L1 is the obstacle, or if the aggregator gives
    /// the reason for the batch as a whole.
    pub seats: Vec<Seat>,
    /// The reason as a word for programs.
    pub reason: String,
    /// The reason as a sentence, in the aggregator's words or those of the first member.
    pub detail: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.seats[..] {
            [] => {}
            [seat] => write!(f, "seat {seat}: ")?,
            [first, .., last] if usize::from(last.0.saturating_sub(first.0)) + 1 == self.seats.len() => {
                write!(f, "seats {first} to {last}: ")?;
            }
            [first, rest @ ..] => {
                write!(f, "seats {first}")?;
                rest.iter().try_for_each(|seat| write!(f, ", {seat}"))?;
                f.write_str(": ")?;
            }
        }
        f.write_str(&self.reason)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl BatchStatus {
    /// Returns the current obstacles: the aggregator's own reason if it gives one, then the
    /// members' answers by reason, then the problem with L1.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let mut obstacles: Vec<Obstacle> = Vec::new();
        let stated = self.waiting.as_ref().map(|waiting| Obstacle {
            seats: Vec::new(),
            reason: waiting.reason.clone(),
            detail: waiting.detail.clone(),
        });
        let is_stated = |reason: &str| stated.as_ref().is_some_and(|stated| stated.reason == reason);
        let failing = |state| !matches!(state, DeliveryState::Attested);
        for member in &self.members {
            if !failing(member.state) || member.reason.is_empty() || is_stated(&member.reason) {
                continue;
            }
            match obstacles.iter_mut().find(|obstacle| obstacle.reason == member.reason) {
                Some(obstacle) => obstacle.seats.push(member.seat),
                None => obstacles.push(Obstacle {
                    seats: vec![member.seat],
                    reason: member.reason.clone(),
                    detail: member.detail.clone(),
                }),
            }
        }
        if !self.l1_problem.is_empty() {
            // The aggregator's text begins with "L1", which `reason` says already.
            let detail = self.l1_problem.trim_start_matches("L1: ").to_owned();
            obstacles.push(Obstacle { seats: Vec::new(), reason: "L1".to_owned(), detail });
        }
        stated.into_iter().chain(obstacles).collect()
    }
}

/// The obstacles that were reported already: each obstacle of each member is reported once, even if
/// it returns after it was gone.
#[derive(Debug, Default)]
pub struct ToldObstacles(HashSet<(Option<Seat>, String)>);

impl ToldObstacles {
    /// Returns the obstacles that were not reported before, and remembers them.
    pub fn news(&mut self, status: &BatchStatus) -> Vec<Obstacle> {
        let mut news = status.obstacles();
        news.retain_mut(|obstacle| {
            let text = without_numbers(&format!("{}: {}", obstacle.reason, obstacle.detail));
            if obstacle.seats.is_empty() {
                return self.note(None, &text);
            }
            obstacle.seats.retain(|seat| self.note(Some(*seat), &text));
            !obstacle.seats.is_empty()
        });
        news
    }

    fn note(&mut self, seat: Option<Seat>, text: &str) -> bool {
        self.0.len() < TOLD_MAX && self.0.insert((seat, text.to_owned()))
    }
}

/// Removes numbers: amounts and times change with every attempt, which makes no new obstacle.
fn without_numbers(text: &str) -> String {
    text.chars().filter(|character| !character.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{BatchState, MemberStatus};
    use crate::waiting::Waiting;

    fn status(members: &[(DeliveryState, &str, &str)], l1_problem: &str) -> BatchStatus {
        let member = |(seat, (state, reason, detail)): (usize, &(DeliveryState, &str, &str))| MemberStatus {
            seat: Seat(u8::try_from(seat).unwrap()),
            state: *state,
            attempts: 1,
            reason: (*reason).to_owned(),
            detail: (*detail).to_owned(),
            attested_at_ms: 0,
            in_certificate: false,
        };
        BatchStatus {
            members: members.iter().enumerate().map(member).collect(),
            l1_problem: l1_problem.to_owned(),
            ..BatchStatus::example(BatchState::Dispersing)
        }
    }

    const QUOTA: (DeliveryState, &str, &str) =
        (DeliveryState::Retrying, "QUOTA_EXCEEDED", "the rollup has spent 186 of 209 bytes of this day");
    const DOWN: (DeliveryState, &str, &str) = (DeliveryState::Retrying, "UNREACHABLE", "");
    const SIGNED: (DeliveryState, &str, &str) = (DeliveryState::Attested, "BUSY", "once");

    fn lines(obstacles: &[Obstacle]) -> Vec<String> {
        obstacles.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn members_of_one_reason_are_named_together() {
        let held_up = status(&[QUOTA, DOWN, QUOTA, SIGNED, QUOTA], "L1: L1: no funds").obstacles();
        let quota = "seats 0, 2, 4: QUOTA_EXCEEDED: the rollup has spent 186 of 209 bytes of this day";
        assert_eq!(lines(&held_up), [quota, "seat 1: UNREACHABLE", "L1: no funds"]);
        let all = status(&[QUOTA, QUOTA, QUOTA], "").obstacles();
        assert!(lines(&all)[0].starts_with("seats 0 to 2: QUOTA_EXCEEDED: "), "{all:?}");
        assert!(status(&[SIGNED], "").obstacles().is_empty());
    }

    #[test]
    fn the_aggregators_reason_goes_first_and_for_the_members_that_give_it() {
        let waits = |reason: &str, detail: &str| {
            let waiting = Waiting { reason: reason.to_owned(), detail: detail.to_owned(), since_ms: 1 };
            BatchStatus { waiting: Some(waiting), ..status(&[QUOTA, DOWN, QUOTA, SIGNED], "") }
        };
        let quota = "2 of 4 members say: the rollup has spent 186 of 209 bytes of this day";
        let held_up = waits("QUOTA_EXCEEDED", quota);
        let expected = [format!("QUOTA_EXCEEDED: {quota}"), "seat 1: UNREACHABLE".to_owned()];
        assert_eq!(lines(&held_up.obstacles()), expected);
        let mut told = ToldObstacles::default();
        assert_eq!(lines(&told.news(&held_up)), expected);
        let later = waits("QUOTA_EXCEEDED", &quota.replace("186", "187"));
        assert!(told.news(&later).is_empty(), "the same reason");
        let stale = waits("L1_STALE", "");
        assert_eq!(lines(&stale.obstacles())[0], "L1_STALE");
        let news = lines(&told.news(&stale));
        assert!(news[0] == "L1_STALE" && news.len() == 2, "what members say beside it: {news:?}");
        assert!(told.news(&held_up).is_empty() && told.news(&stale).is_empty(), "it flickers");
    }

    #[test]
    fn each_obstacle_is_news_once() {
        let mut told = ToldObstacles::default();
        let mut news = |members: &[_], l1| lines(&told.news(&status(members, l1)));
        assert!(news(&[SIGNED, (DeliveryState::Pending, "", "")], "").is_empty());
        assert_eq!(news(&[DOWN, SIGNED], ""), ["seat 0: UNREACHABLE"]);
        let later =
            (DeliveryState::Retrying, "QUOTA_EXCEEDED", "the rollup has spent 7 of 9 bytes of this day");
        assert_eq!(news(&[QUOTA, QUOTA], "").len(), 1, "another reason");
        assert!(news(&[DOWN, later], "").is_empty(), "the same ones again, with other amounts");
        assert_eq!(
            news(&[QUOTA, QUOTA, QUOTA], "L1: no funds"),
            ["seat 2: QUOTA_EXCEEDED: the rollup has spent 186 of 209 bytes of this day", "L1: no funds",]
        );
        assert!(news(&[QUOTA], "").is_empty());
        assert!(news(&[QUOTA], "L1: no funds").is_empty(), "it flickers");
        let tls = (DeliveryState::Retrying, "UNREACHABLE", "TLS: it demands a client certificate");
        assert_eq!(news(&[tls], "").len(), 1, "in other words");
    }
}
