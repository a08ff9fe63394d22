//! Interprets a node's answer to a transaction, from the words that different nodes use.

use std::fmt;

/// A node's answer to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAnswer {
    /// The node has the transaction.
    Accepted,
    /// A transaction with this nonce was included already, possibly this very one.
    NonceUsed,
    /// The node has another transaction with this nonce, and this one pays too little to replace
    /// it.
    Underpriced,
    /// The node accepts no transaction with so low a tip.
    TipTooLow {
        /// The least tip that the node accepts, in wei per gas, if it says so.
        needed: Option<u128>,
    },
    /// The account owns less than the transaction may cost.
    Unfunded,
}

/// Letters in answers that mean: the node already has the transaction.
const TAKEN: [&str; 14] = [
    "alreadyknown",
    "alreadyimported",
    "alreadyexist",
    "alreadyin",
    "alreadypending",
    "alreadysubmitted",
    "alreadybroadcast",
    "alreadyreceived",
    "alreadyadded",
    "alreadyqueued",
    "alreadypresent",
    "samehash",
    "duplicatetransaction",
    "duplicatetx",
];
/// Letters that mean: a block contains a transaction with this nonce.
const NONCE_USED: [&str; 9] = [
    "noncetoolow",
    "nonceistoolow",
    "oldnonce",
    "nonceexpired",
    "noncealreadyused",
    "noncehasalreadybeenused",
    "alreadymined",
    "alreadyincluded",
    "alreadyexecuted",
];
/// Letters that mean: another transaction with this nonce keeps its place.
const KEEPS_FORMER: [&str; 7] = [
    "ownnoncealreadyused",
    "replacementtransactionunderpriced",
    "replacementunderpriced",
    "replacementnotallowed",
    "replacementfee",
    "couldnotreplace",
    "samenonce",
];
/// Letters that mean: the transaction pays less than the least tip.
const TIP_TOO_LOW: [&str; 8] = [
    "underpriced",
    "feetoolow",
    "tiptoolow",
    "gaspricetoolow",
    "gaspriceistoolow",
    "gaspricebelow",
    "priorityfeepergastoolow",
    "minimumgasprice",
];
/// Letters that mean: the account cannot pay.
const UNFUNDED: [&str; 5] =
    ["insufficientfunds", "insufficientbalance", "notenoughfunds", "exceedsaccountbalance", "exceedsbalance"];
/// Words that stand before the least tip.
const NEEDED: [&str; 3] = ["minimum needed", "tip needed", "minimum"];

impl SendAnswer {
    /// Interprets a refusal; `None` if its words are not known. Geth, Nethermind, Besu, Erigon,
    /// Reth, anvil and the providers word these differently.
    pub(crate) fn of(refusal: &str) -> Option<Self> {
        let refusal = refusal.to_ascii_lowercase();
        let letters: String = refusal.chars().filter(char::is_ascii_alphanumeric).collect();
        let says = |words: &[&str]| words.iter().any(|word| letters.contains(word));
        // An "unknown transaction type" must not be taken for a "known transaction".
        let knows = ["knowntransaction", "knowntx"]
            .iter()
            .any(|word| letters.match_indices(word).any(|(start, _)| !letters[..start].ends_with("un")));
        if says(&KEEPS_FORMER) {
            Some(Self::Underpriced)
        } else if says(&NONCE_USED) {
            Some(Self::NonceUsed)
        } else if knows || says(&TAKEN) {
            Some(Self::Accepted)
        } else if says(&UNFUNDED) {
            Some(Self::Unfunded)
        } else if says(&TIP_TOO_LOW) {
            Some(Self::TipTooLow { needed: NEEDED.iter().find_map(|words| number_after(&refusal, words)) })
        } else {
            None
        }
    }
}

impl fmt::Display for SendAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("taken"),
            Self::NonceUsed => f.write_str("the nonce is used already"),
            Self::Underpriced => f.write_str("another one with this nonce pays enough to stay"),
            Self::TipTooLow { needed: Some(needed) } => {
                write!(f, "the tip is too low, {needed} wei are needed")
            }
            Self::TipTooLow { needed: None } => f.write_str("the tip is too low"),
            Self::Unfunded => f.write_str("the account owns less than it may cost"),
        }
    }
}

/// The number after these words, with only blanks and signs in between.
fn number_after(text: &str, words: &str) -> Option<u128> {
    let rest = &text[text.find(words)? + words.len()..];
    let rest = rest.trim_start_matches([' ', ':', '=']);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_understood_however_it_is_said() {
        for words in [
            "already known",
            "Known transaction: 0x05",
            "ALREADY_EXISTS: already known",
            "AlreadyKnown, Transaction with hash 0x05 is already known",
            "Transaction with the same hash was already imported.",
            "transaction already imported",
            "[0x05] Already imported",
            "tx already in mempool",
            "Transaction is already in the pool",
            "tx already exists in cache",
            "transaction already exists",
            "pending transaction with same hash already exists",
            "existing tx with same hash",
            "the transaction was already submitted",
            "transaction already broadcasted",
            "already pending",
            "duplicate transaction",
            "Known tx 0x05",
        ] {
            assert_eq!(SendAnswer::of(words), Some(SendAnswer::Accepted), "{words}");
        }
    }

    #[test]
    fn other_answers_are_told_apart() {
        use SendAnswer::{NonceUsed, TipTooLow, Underpriced, Unfunded};
        let low = |needed| TipTooLow { needed };
        for (words, meant) in [
            ("nonce too low: next nonce 5, tx nonce 4", NonceUsed),
            ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", NonceUsed),
            ("Transaction nonce is too low. Try incrementing the nonce.", NonceUsed),
            ("transaction already mined", NonceUsed),
            ("OwnNonceAlreadyUsed", Underpriced),
            ("replacement transaction underpriced", Underpriced),
            ("Replacement transaction underpriced, tip 1 needed 2", Underpriced),
            ("could not replace existing tx", Underpriced),
            (
                "Transaction gas price is too low. There is another transaction with same nonce in the queue.",
                Underpriced,
            ),
            ("transaction underpriced: gas tip cap 0, minimum needed 1000000", low(Some(1_000_000))),
            ("transaction underpriced: tip needed 1000000000, tip permitted 0", low(Some(1_000_000_000))),
            ("transaction underpriced", low(None)),
            ("Gas price below configured minimum gas price", low(None)),
            ("FeeTooLow, EffectivePriorityFeePerGas too low 0 < 1", low(None)),
            ("transaction underpriced: minimum needed 999999999999999999999999999999999999999999", low(None)),
            ("insufficient funds for gas * price + value: balance 0, tx cost 5", Unfunded),
            ("Insufficient funds for gas * price + value", Unfunded),
            ("Upfront cost exceeds account balance", Unfunded),
        ] {
            assert_eq!(SendAnswer::of(words), Some(meant), "{words}");
        }
        for words in [
            "unknown transaction type",
            "UnknownTransaction",
            "method not found",
            "exceeds block gas limit",
            "",
        ] {
            assert_eq!(SendAnswer::of(words), None, "{words}");
        }
    }
}
