//! How a command fails: with an exit code that scripts can rely on, a message that says what was
//! expected and what came, and a hint what to do about it.

use std::fmt;
use std::process::ExitCode;

/// The cause of a failure, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A check was made, and its result is negative.
    Failed,
    /// The arguments or files are wrong.
    Usage,
    /// The disperser committed to something that is not a payload.
    Malformed,
    /// What was asked for is not ready yet.
    NotReady,
    /// A server cannot be reached.
    Unavailable,
    /// A contract or the aggregator refused.
    Refused,
    /// The fault is in this program or on this machine.
    Internal,
    /// The user stopped the command.
    Interrupted,
}

impl Exit {
    /// Returns the process's exit code.
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

    /// Returns the name that documents use.
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

/// A failure, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// The cause, which decides the exit code.
    pub exit: Exit,
    /// What was expected, and what came.
    pub message: String,
    /// What the user can try.
    pub hint: Option<String>,
}

impl Failure {
    /// Makes a failure without a hint.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    /// Makes a failure because of wrong arguments or files.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Makes a failure because of a fault in this program or on this machine.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Exit::Internal, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    /// Adds what the user can try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
