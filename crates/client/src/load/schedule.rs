//! The times at which batches are due. They follow the clock, so that a slow batch delays none of
//! the later ones.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::plan::{LoadPlan, Rate};

/// A batch that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The batch's index in the load, from 0.
    pub index: u64,
    /// When the batch is due, counted from the start of the load. Not used with [`Rate::Saturate`].
    pub at: Duration,
    /// The payload's length in bytes.
    pub bytes: usize,
    /// The index of the rollup that submits it.
    pub rollup: usize,
}

/// All arrivals of a plan in order. Endless with [`Rate::Saturate`].
#[derive(Clone, Debug)]
pub struct Schedule {
    plan: LoadPlan,
    rollups: usize,
    dice: StdRng,
    index: u64,
    /// In seconds. An `f64` is precise enough for a sum of as many pauses as a load has.
    next_at: f64,
}

impl Schedule {
    /// Makes the schedule of a plan; the rollups take turns.
    pub fn new(plan: &LoadPlan, rollups: usize) -> Self {
        Self {
            plan: plan.clone(),
            rollups: rollups.max(1),
            dice: StdRng::seed_from_u64(plan.seed),
            index: 0,
            next_at: 0.0,
        }
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        if self.next_at >= self.plan.duration.as_secs_f64() {
            return None;
        }
        let index = self.index;
        let bytes = self.plan.sizes.at(self.dice.random());
        let at = Duration::from_secs_f64(self.next_at);
        #[allow(clippy::cast_precision_loss)] // A payload's length is far below 2^52.
        let pause = match self.plan.rate {
            Rate::Batches(rate) => 1.0 / rate,
            Rate::Bytes(rate) => bytes as f64 / rate,
            Rate::Saturate => 0.0,
        };
        // The inverse of the exponential distribution of mean 1; its argument is above 0.
        let stretch = if self.plan.random_pauses { -(1.0 - self.dice.random::<f64>()).ln() } else { 1.0 };
        self.next_at += pause * stretch;
        self.index += 1;
        let rollup = usize::try_from(index).unwrap_or(0) % self.rollups;
        Some(Arrival { index, at, bytes, rollup })
    }
}

#[cfg(test)]
mod tests {
    use dac_types::{HashKind, PostingMode};

    use super::super::plan::Sizes;
    use super::*;

    fn plan(rate: Rate) -> LoadPlan {
        LoadPlan {
            rate,
            random_pauses: false,
            sizes: Sizes::of(1000),
            duration: Duration::from_secs(10),
            warm_up: Duration::ZERO,
            in_flight_max: 1,
            connections: 1,
            hash_kind: HashKind::Opaque,
            posting: PostingMode::Record,
            lifetime_seconds: 60,
            timeout: Duration::from_secs(1),
            first_number: 0,
            seed: 7,
        }
    }

    #[test]
    fn batches_come_at_equal_pauses() {
        let all: Vec<_> = Schedule::new(&plan(Rate::Batches(4.0)), 3).collect();
        assert_eq!(all.len(), 40);
        assert_eq!(all[5].at, Duration::from_millis(1250));
        let turns: Vec<_> = all.iter().take(4).map(|arrival| arrival.rollup).collect();
        assert_eq!(turns, [0, 1, 2, 0]);
    }

    #[test]
    fn bytes_come_at_the_rate_asked_for_whatever_their_sizes() {
        let mixed = LoadPlan { sizes: "1kB,9kB".parse().unwrap(), ..plan(Rate::Bytes(1e6)) };
        let total: usize = Schedule::new(&mixed, 1).map(|arrival| arrival.bytes).sum();
        assert!((9_990_000..=10_010_000).contains(&total), "{total}");
    }

    #[test]
    fn random_pauses_keep_the_rate_and_differ() {
        let random = LoadPlan { random_pauses: true, ..plan(Rate::Batches(1000.0)) };
        let all: Vec<_> = Schedule::new(&random, 1).collect();
        assert!((9_500..=10_500).contains(&all.len()), "{}", all.len());
        let short = all.windows(2).filter(|two| two[1].at - two[0].at < Duration::from_micros(500)).count();
        // 1 - 1/sqrt(e) of them: 39 %.
        assert!((3_500..=4_400).contains(&short), "{short}");
    }

    #[test]
    fn a_seed_gives_the_same_load_again() {
        let varied = LoadPlan { sizes: "1..1000".parse().unwrap(), ..plan(Rate::Batches(50.0)) };
        let other = LoadPlan { seed: 8, ..varied.clone() };
        let all = |plan: &LoadPlan| Schedule::new(plan, 1).collect::<Vec<_>>();
        assert_eq!(all(&varied), all(&varied));
        assert_ne!(all(&varied), all(&other));
    }

    #[test]
    fn a_saturating_load_never_ends() {
        let saturating = plan(Rate::Saturate);
        assert_eq!(Schedule::new(&saturating, 1).take(100_000).count(), 100_000);
    }
}
