//! How a command ends: an exit code that scripts can rely on, what was expected and came, and what
//! to do about it.

use std::fmt;
use std::process::ExitCode;

/// Why a command failed, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Checked and found wanting.
    Failed,
    /// Wrong arguments or files.
    Usage,
    /// The batch is no payload.
    Malformed,
    /// Not ready yet: what was asked for is still on its way.
    NotReady,
    /// Out of reach.
    Unavailable,
    /// Refused by a contract or the aggregator.
    Refused,
    /// A fault here.
    Internal,
    /// Stopped by the user.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Malformed | Self::NotReady => 3,
            Self::Unavailable => 4,
            Self::Refused => 5,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// What documents call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "FAILED",
            Self::Usage => "USAGE",
            Self::Malformed => "MALFORMED",
            Self::NotReady => "NOT_READY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Refused => "REFUSED",
            Self::Internal => "INTERNAL",
            Self::Interrupted => "INTERRUPTED",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A failure and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// What kind it is.
    pub exit: Exit,
    /// What was expected and what came.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

impl Failure {
    /// Without a hint.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    /// Wrong arguments or files.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A fault here.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Exit::Internal, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    /// With something to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
