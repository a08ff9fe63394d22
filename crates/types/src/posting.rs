//! The ways in which a certified batch reaches L1.

/// How a certified batch reaches L1. The rollup chooses with its submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PostingMode {
    /// The certificate is recorded in the log. The rollup settles the batch itself, or submits a
    /// proof later.
    #[default]
    Record,
    /// Certificate and validity proof go to the rollup's settlement contract in one transaction.
    Settle,
}

impl PostingMode {
    /// All modes.
    pub const ALL: [Self; 2] = [Self::Record, Self::Settle];

    /// Returns the name that the API uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "RECORD",
            Self::Settle => "SETTLE",
        }
    }

    /// Returns the name on the command line and in stored rows.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Settle => "settle",
        }
    }

    /// Returns the mode of this [`Self::word`].
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }

    /// Returns whether the certificate goes to L1 at once, without a proof. A proof that follows
    /// settles a batch whose certificate is on L1. Otherwise nothing goes to L1 before the proof.
    pub const fn records_certificate(self) -> bool {
        match self {
            Self::Record => true,
            Self::Settle => false,
        }
    }
}
