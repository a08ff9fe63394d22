//! Durations and sizes with units.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Why a text is not a valid duration or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// The text is not a duration.
    #[error("expected a duration with its unit, such as \"500ms\", \"30s\", \"5m\" or \"14d\"")]
    Duration,
    /// The text is not a size.
    #[error("expected a size with its unit, such as \"4KiB\", \"64MiB\" or \"2GB\"")]
    Size,
    /// The duration is longer than any setting allows; clocks and timers would overflow.
    #[error("expected a duration of at most \"3650d\"")]
    TooLong,
    /// The size is larger than any disk; sums would overflow.
    #[error("expected a size of at most \"1024TiB\"")]
    TooLarge,
}

/// The longest duration: ten years.
const PERIOD_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// The largest size.
const SIZE_MAX_BYTES: u64 = 1 << 50;

/// Refuses a setting outside its bounds. A NaN is outside all bounds.
///
/// # Errors
/// The error names the setting, its value and the bounds, for the operator.
pub fn within<T: PartialOrd + fmt::Display>(name: &str, value: T, least: T, most: T) -> Result<(), String> {
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(format!("{name} = {value}: must be from {least} to {most}"))
    }
}

/// A duration, such as `"30s"`, `"5m"`, `"1h 30m"` or `"14d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

impl Period {
    /// The shortest duration of a setting that must not be zero.
    pub const SHORTEST: Self = Self(Duration::from_millis(1));
    /// One hour, for bounds of settings.
    pub const HOUR: Self = Self::from_secs(60 * 60);
    /// One day, for bounds of settings.
    pub const DAY: Self = Self::from_secs(24 * 60 * 60);

    /// A duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl Deref for Period {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        // humantime accepts a bare zero, but a unit is required here.
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(UnitError::Duration);
        }
        let period = humantime::parse_duration(text).map_err(|_| UnitError::Duration)?;
        if period > PERIOD_MAX { Err(UnitError::TooLong) } else { Ok(Self(period)) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes, such as `"64MiB"` or `"2GB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("TB", 1000 * 1000 * 1000 * 1000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl ByteSize {
    /// The bound of settings about memory: more than a machine has.
    pub const MEMORY: Self = Self(1 << 40);
    /// The bound of settings about disks: the largest size of all.
    pub const DISK: Self = Self(SIZE_MAX_BYTES);

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| UnitError::Size)?;
        let &(_, factor) =
            SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or(UnitError::Size)?;
        let bytes = number.checked_mul(factor).ok_or(UnitError::TooLarge)?;
        if bytes > SIZE_MAX_BYTES { Err(UnitError::TooLarge) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS
            .iter()
            .rev()
            .find(|(name, factor)| {
                (name.contains('i') || *factor == 1) && self.0.is_multiple_of(*factor) && self.0 >= *factor
            })
            .unwrap_or(&SIZE_UNITS[0]);
        write!(f, "{}{unit}", self.0 / factor)
    }
}

macro_rules! text_in_serde {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        // The error for a text without a unit says what is expected.
                        let error = "".parse::<$type>().expect_err("an empty text has no unit").to_string();
                        f.write_str(error.strip_prefix("expected ").unwrap_or(&error))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

text_in_serde!(Period, ByteSize);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, milliseconds) in
            [("500ms", 500), ("30s", 30_000), ("1h 30m", 5_400_000), ("14d", 1_209_600_000)]
        {
            assert_eq!(text.parse::<Period>().unwrap().as_millis(), milliseconds);
        }
        for bad in ["", "30", "0", "s", "-1s", "1 fortnight", "99999999999999999999s"] {
            assert_eq!(bad.parse::<Period>(), Err(UnitError::Duration), "{bad}");
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        for (text, bytes) in [("0B", 0), ("4KiB", 4096), ("64 MiB", 64 << 20), ("2GB", 2_000_000_000)] {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes);
        }
        for bad in ["", "64", "MiB", "-1B", "1.5GB", "64mib", "99999999999999999999B"] {
            assert_eq!(bad.parse::<ByteSize>(), Err(UnitError::Size), "{bad}");
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(ByteSize(1025).to_string(), "1025B");
        assert_eq!(ByteSize(0).to_string(), "0B");
    }

    /// A limit that is never reached would be switched off, which no operator asked for.
    #[test]
    fn nothing_is_without_bounds() {
        for long in ["3651d", "99999999999999999s", "11years"] {
            assert_eq!(long.parse::<Period>(), Err(UnitError::TooLong), "{long}");
        }
        assert!("3650d".parse::<Period>().is_ok());
        for large in ["18446744073709551615B", "1025TiB", "20000000TiB", "20000000000TiB"] {
            assert_eq!(large.parse::<ByteSize>(), Err(UnitError::TooLarge), "{large}");
        }
        assert_eq!("1024TiB".parse::<ByteSize>(), Ok(ByteSize::DISK));
        assert_eq!(
            UnitError::TooLarge.to_string(),
            format!("expected a size of at most \"{}\"", ByteSize::DISK)
        );
        assert_eq!(UnitError::TooLong.to_string(), "expected a duration of at most \"3650d\"");

        assert_eq!(within("limits.uploads", 1_u32, 1, 10), Ok(()));
        let error = within("limits.uploads", 11_u32, 1, 10).unwrap_err();
        assert_eq!(error, "limits.uploads = 11: must be from 1 to 10");
        let error = within("x.y", Period::from_secs(0), Period::SHORTEST, Period::HOUR).unwrap_err();
        assert_eq!(error, "x.y = 0s: must be from 1ms to 1h");
        for number in [f64::NAN, f64::INFINITY, 0.0, 1e308] {
            assert!(within("rate", number, 0.001, 1e6).is_err());
        }
    }

    proptest! {
        #[test]
        fn sizes_round_trip(bytes in 0..=SIZE_MAX_BYTES, shift in 0_u32..64) {
            let size = ByteSize((bytes >> shift << (shift / 2)).min(SIZE_MAX_BYTES));
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }

        #[test]
        fn durations_round_trip(milliseconds in 1_u64..10_000_000_000) {
            let period = Period(Duration::from_millis(milliseconds));
            prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Period>();
            let _ = text.parse::<ByteSize>();
        }
    }
}
