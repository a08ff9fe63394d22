//! The reasons for which a rollup is frozen or may be frozen.

/// The reason for which anyone may freeze a rollup, or for which it is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeReason {
    /// No batch settled for a freeze delay.
    NothingSettled,
    /// An L1 input waited unserved for a freeze delay.
    InputUnserved,
    /// The coverage is shorter than users need to exit.
    CoverageShort,
    /// The contract gives a number that this software does not know.
    Unknown(u8),
}

impl FreezeReason {
    /// The name of the reason for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NothingSettled => "NOTHING_SETTLED",
            Self::InputUnserved => "INPUT_UNSERVED",
            Self::CoverageShort => "COVERAGE_SHORT",
            Self::Unknown(_) => "UNKNOWN",
        }
    }

    /// The reason in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::NothingSettled => "no batch settled for longer than the freeze delay",
            Self::InputUnserved => "an L1 input was not served for longer than the freeze delay",
            Self::CoverageShort => "the data is promised for little more than an exit window from now",
            Self::Unknown(_) => "for a reason unknown to this program",
        }
    }

    /// The reason for the contract's number; `None` for 0, which means no reason.
    pub const fn of(value: u8) -> Option<Self> {
        match value {
            0 => None,
            1 => Some(Self::NothingSettled),
            2 => Some(Self::InputUnserved),
            3 => Some(Self::CoverageShort),
            other => Some(Self::Unknown(other)),
        }
    }
}
