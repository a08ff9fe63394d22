//! What is offered to a service.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dac_types::limits::PAYLOAD_MAX_BYTES;
use dac_types::{HashKind, PostingMode};
use thiserror::Error;

/// Batches or bytes a second above which a rate is taken for a slip of the keyboard.
const RATE_MAX: f64 = 1e12;
/// Sizes in one list.
const SIZES_MAX: usize = 64;

/// What a load may not be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadPlanError {
    /// Neither a rate nor `max`.
    #[error(
        "{got:?} is no rate: expected batches or bytes a second as in `20/s`, `1.5/s`, `50MB/s`, `8MiB/s`, or `max`"
    )]
    Rate {
        /// Given.
        got: String,
    },
    /// Neither a size, nor a list or range of them.
    #[error(
        "{got:?} is no size: expected one as in `64KiB`, a list `16KiB,1MiB` or a range `16KiB..1MiB`, each of 1 byte to {PAYLOAD_MAX_BYTES}"
    )]
    Sizes {
        /// Given.
        got: String,
    },
    /// A number that must be positive is not.
    #[error("{what} must be above zero")]
    Zero {
        /// Which.
        what: &'static str,
    },
    /// There is nothing to measure after the warm-up.
    #[error("a warm-up of {warm_up:?} leaves nothing of a load of {duration:?}")]
    WarmUp {
        /// Of the warm-up.
        warm_up: Duration,
        /// Of everything.
        duration: Duration,
    },
}

/// When the next batch is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many batches a second.
    Batches(f64),
    /// So many payload bytes a second: large batches are rarer than small ones.
    Bytes(f64),
    /// As soon as one in flight is done: closed-loop, to find a capacity.
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
        // Neither is true of what is not a number.
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

/// How large payloads are, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Each as often as the others, at random.
    OneOf(Vec<usize>),
    /// All between these two, both included, equally often.
    Between(usize, usize),
}

impl Sizes {
    /// All of one size.
    pub fn of(bytes: usize) -> Self {
        Self::OneOf(vec![bytes])
    }

    /// The largest that may come.
    pub fn largest(&self) -> usize {
        match self {
            Self::OneOf(sizes) => sizes.iter().copied().max().unwrap_or(0),
            Self::Between(_, largest) => *largest,
        }
    }

    /// The one that a number of 0 to 1 (excluded) stands for.
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

/// Bytes of one payload.
fn size(text: &str) -> Option<usize> {
    let (number, factor) = split_unit(text.trim())?;
    let bytes = number.parse::<f64>().ok()? * factor.unwrap_or(1.0);
    #[allow(clippy::cast_precision_loss)] // 64 MiB.
    let fits = bytes >= 1.0 && bytes <= PAYLOAD_MAX_BYTES as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Within the bounds above.
    fits.then_some(bytes as usize)
}

/// The number and the bytes that its unit stands for, if it has one.
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

/// A load.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPlan {
    /// When batches are due.
    pub rate: Rate,
    /// Whether the pauses between them are exponentially distributed, as those of many independent
    /// users are, instead of equal.
    pub random_pauses: bool,
    /// How large they are.
    pub sizes: Sizes,
    /// How long batches are due, the warm-up included.
    pub duration: Duration,
    /// What is due in this first part is sent and not measured.
    pub warm_up: Duration,
    /// Batches sent and not certified yet, at most.
    pub in_flight_max: usize,
    /// Connections to the aggregator.
    pub connections: usize,
    /// What batch hashes are. OPAQUE ones are random: nothing here has a rollup's commitment.
    pub hash_kind: HashKind,
    /// How certified batches come to L1; with SETTLE they stay certified, since no proof is ever
    /// handed in.
    pub posting: PostingMode,
    /// How long members keep the batches, in seconds.
    pub lifetime_seconds: u64,
    /// One batch has so long to be certified.
    pub timeout: Duration,
    /// The number of the first batch; the others count on from there, over all rollups.
    pub first_number: u64,
    /// Of sizes, pauses and payloads.
    pub seed: u64,
}

impl LoadPlan {
    /// Refuses what cannot be run.
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
