//! Why a rollup is frozen, or may be.

/// Why anyone may freeze a rollup, or why it is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeReason {
    /// Nothing settled for a freeze delay.
    NothingSettled,
    /// An L1 input stayed unserved for as long.
    InputUnserved,
    /// Coverage is shorter than users need to leave.
    CoverageShort,
    /// The contract gives a reason that this software does not know.
    Unknown(u8),
}

impl FreezeReason {
    /// The name for machines.
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

    /// Reads the contract's number; 0 is no reason.
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
