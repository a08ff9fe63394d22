//! The plan of a load: the rate, sizes and number of batches.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dac_types::limits::PAYLOAD_MAX_BYTES;
use dac_types::{HashKind, PostingMode};
use thiserror::Error;

/// The largest rate, in batches or bytes a second. A larger one must be a typing error.
const RATE_MAX: f64 = 1e12;
/// The most sizes in one list.
const SIZES_MAX: usize = 64;

/// Why a load cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadPlanError {
    /// The text is neither a rate nor `max`.
    #[error(
        "{got:?} is no rate: expected batches or bytes a second as in `20/s`, `1.5/s`, `50MB/s`, `8MiB/s`, or `max`"
    )]
    Rate {
        /// The text given.
        got: String,
    },
    /// The text is neither a size nor a list or range of sizes.
    #[error(
        "{got:?} is no size: expected one as in `64KiB`, a list `16KiB,1MiB` or a range `16KiB..1MiB`, each of 1 byte to {PAYLOAD_MAX_BYTES}"
    )]
    Sizes {
        /// The text given.
        got: String,
    },
    /// A number that must be positive is not.
    #[error("{what} must be above zero")]
    Zero {
        /// The name of the number.
        what: &'static str,
    },
    /// The warm-up leaves no time to measure.
    #[error("a warm-up of {warm_up:?} leaves nothing of a load of {duration:?}")]
    WarmUp {
        /// The length of the warm-up.
        warm_up: Duration,
        /// The length of the whole load.
        duration: Duration,
    },
}

/// The rate at which batches are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// A number of batches a second.
    Batches(f64),
    /// A number of payload bytes a second: the larger the batches, the fewer there are.
    Bytes(f64),
    /// As many as the service takes: a batch is due as soon as one in flight is done. This is
    /// closed-loop and finds a capacity.
    Saturate,
}

impl FromStr for Rate {
    type Err = LoadPlanError;

    fn from_str(text: &str) -> Result<Self, LoadPlanError> {
        let refused = || LoadPlanError::Rate { got: text.to_owned() };
        if text == "max" {
            return Ok(Self::Saturate);
        }
        let amount = text.strip_suffix("/s").unwrap_or(text);
        let (number, factor) = split_unit(amount).ok_or_else(refused)?;
        let number: f64 = number.parse().map_err(|_| refused())?;
        let rate = number * factor.unwrap_or(1.0);
        // A number that is NaN satisfies neither comparison.
        if !(rate > 0.0 && rate <= RATE_MAX) {
            return Err(refused());
        }
        Ok(if factor.is_some() { Self::Bytes(rate) } else { Self::Batches(rate) })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batches(rate) => write!(formatter, "{rate}/s"),
            Self::Bytes(rate) => write!(formatter, "{}MB/s", rate / 1e6),
            Self::Saturate => formatter.write_str("max"),
        }
    }
}

/// The distribution of payload sizes, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Each of these sizes with the same probability.
    OneOf(Vec<usize>),
    /// Each size between these two, both included, with the same probability.
    Between(usize, usize),
}

impl Sizes {
    /// Returns the distribution with one size.
    pub fn of(bytes: usize) -> Self {
        Self::OneOf(vec![bytes])
    }

    /// Returns the largest size.
    pub fn largest(&self) -> usize {
        match self {
            Self::OneOf(sizes) => sizes.iter().copied().max().unwrap_or(0),
            Self::Between(_, largest) => *largest,
        }
    }

    /// Maps a number from 0 to 1 (excluded) to a size.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // Far below 2^52.
    pub(super) fn at(&self, place: f64) -> usize {
        let pick = |count: usize| ((count as f64 * place) as usize).min(count - 1);
        match self {
            Self::OneOf(sizes) => sizes[pick(sizes.len())],
            Self::Between(least, largest) => least + pick(largest - least + 1),
        }
    }
}

impl FromStr for Sizes {
    type Err = LoadPlanError;

    fn from_str(text: &str) -> Result<Self, LoadPlanError> {
        let refused = || LoadPlanError::Sizes { got: text.to_owned() };
        if let Some((least, largest)) = text.split_once("..") {
            let (least, largest) = size(least).zip(size(largest)).ok_or_else(refused)?;
            return if least <= largest { Ok(Self::Between(least, largest)) } else { Err(refused()) };
        }
        let sizes: Option<Vec<usize>> = text.split(',').take(SIZES_MAX + 1).map(size).collect();
        sizes.filter(|sizes| sizes.len() <= SIZES_MAX).map(Self::OneOf).ok_or_else(refused)
    }
}

/// Parses the size of one payload in bytes.
fn size(text: &str) -> Option<usize> {
    let (number, factor) = split_unit(text.trim())?;
    let bytes = number.parse::<f64>().ok()? * factor.unwrap_or(1.0);
    #[allow(clippy::cast_precision_loss)] // 64 MiB.
    let fits = bytes >= 1.0 && bytes <= PAYLOAD_MAX_BYTES as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Within the bounds above.
    fits.then_some(bytes as usize)
}

/// Splits a number from its unit, and returns the number of bytes of the unit if there is one.
fn split_unit(text: &str) -> Option<(&str, Option<f64>)> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => return Some((number, None)),
        "B" => 1.0,
        "k" | "kB" | "KB" => 1e3,
        "M" | "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number, Some(factor)))
}

/// The plan of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPlan {
    /// The rate at which batches are due.
    pub rate: Rate,
    /// Whether the pauses between batches are exponentially distributed, as those of many
    /// independent users are, instead of equal.
    pub random_pauses: bool,
    /// The sizes of payloads.
    pub sizes: Sizes,
    /// For how long batches are due, the warm-up included.
    pub duration: Duration,
    /// The length of the first part, in which batches are sent but not measured.
    pub warm_up: Duration,
    /// The most batches that are sent and not certified yet.
    pub in_flight_max: usize,
    /// The number of connections to the aggregator.
    pub connections: usize,
    /// The kind of batch hash. OPAQUE hashes are random, since there is no rollup that computes
    /// one.
    pub hash_kind: HashKind,
    /// How certified batches get to L1. With SETTLE they stay certified, since no validity proof is
    /// ever submitted.
    pub posting: PostingMode,
    /// How long members keep the batches, in seconds.
    pub lifetime_seconds: u64,
    /// The time that one batch has to be certified.
    pub timeout: Duration,
    /// The number of the first batch. The others get the numbers after it, counted over all
    /// rollups.
    pub first_number: u64,
    /// The seed of sizes, pauses and payloads.
    pub seed: u64,
}

impl LoadPlan {
    /// Refuses a plan that cannot be run.
    pub fn check(&self) -> Result<(), LoadPlanError> {
        for (what, is_zero) in [
            ("the duration", self.duration.is_zero()),
            ("the bound of batches in flight", self.in_flight_max == 0),
            ("the number of connections", self.connections == 0),
            ("the lifetime of batches", self.lifetime_seconds == 0),
            ("the time of one batch", self.timeout.is_zero()),
        ] {
            if is_zero {
                return Err(LoadPlanError::Zero { what });
            }
        }
        if self.warm_up >= self.duration {
            return Err(LoadPlanError::WarmUp { warm_up: self.warm_up, duration: self.duration });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, rate) in [
            ("20/s", Rate::Batches(20.0)),
            ("0.5", Rate::Batches(0.5)),
            ("50MB/s", Rate::Bytes(50e6)),
            ("1.5 MiB/s", Rate::Bytes(1_572_864.0)),
            ("max", Rate::Saturate),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
        }
        for text in ["", "0", "-1/s", "1e3/s", "NaN", "20 apples/s", "1..2", "99999999999999/s", "MB/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, sizes) in [
            ("1", Sizes::of(1)),
            ("64k", Sizes::of(64_000)),
            ("64KiB", Sizes::of(65_536)),
            ("1.5MiB", Sizes::of(1_572_864)),
            ("16KiB,1MiB", Sizes::OneOf(vec![16_384, 1 << 20])),
            ("16KiB..1MiB", Sizes::Between(16_384, 1 << 20)),
            ("64MiB", Sizes::of(64 << 20)),
        ] {
            assert_eq!(text.parse(), Ok(sizes), "{text}");
        }
        let many = vec!["1"; SIZES_MAX + 1].join(",");
        for text in ["", "0", "65MiB", "1MiB..1KiB", "1,,2", "1 MiBs", "..", "0.5", many.as_str()] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_size_has_its_place() {
        let sizes: Sizes = "10..13".parse().unwrap();
        assert_eq!([0.0, 0.26, 0.51, 0.999_999].map(|place| sizes.at(place)), [10, 11, 12, 13]);
        let list: Sizes = "7,9".parse().unwrap();
        assert_eq!([0.0, 0.49, 0.5, 0.99].map(|place| list.at(place)), [7, 7, 9, 9]);
        assert_eq!((sizes.largest(), list.largest()), (13, 9));
    }
}
