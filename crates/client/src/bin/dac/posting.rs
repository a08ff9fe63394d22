//! The posting modes on the command line.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use dac_types::PostingMode;

/// A posting mode, as `--posting` names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posting(PostingMode);

/// All posting modes, in the order in which the help lists them.
const ALL: [Posting; PostingMode::ALL.len()] = {
    let mut all = [Posting(PostingMode::Record); PostingMode::ALL.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = Posting(PostingMode::ALL[at]);
        at += 1;
    }
    all
};

const fn help(mode: PostingMode) -> &'static str {
    match mode {
        PostingMode::Record => "Its certificate is recorded in the certificate log",
        PostingMode::Settle => {
            "Certificate and validity proof settle it in one transaction; hand in the proof with \
             `dac submit-proof`"
        }
    }
}

impl ValueEnum for Posting {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.word()).help(help(self.0)))
    }
}

impl From<Posting> for PostingMode {
    fn from(Posting(mode): Posting) -> Self {
        mode
    }
}
