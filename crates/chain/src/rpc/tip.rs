//! The tip that endpoints suggest. Honest endpoints have rules of their own and suggest different
//! tips, so two suggestions need not be equal, and none is trusted alone.

use super::Endpoints;
use crate::error::ChainError;
use crate::transaction::USUAL_TIP;

/// The name of this request in errors and in the status.
const TIP: &str = "the tip";
/// An endpoint is named as disagreeing if its suggestion is this many times the tip that is taken,
/// and this many times the usual one: rules differ, but not by so much.
const FAR_TIMES: u128 = 16;

impl Endpoints {
    /// The tip that gets a transaction included soon, in wei per gas. It is the median of the
    /// suggestions of at least as many endpoints as must agree, and of those that are not much
    /// slower; of two in the middle, the lower one. An endpoint without the method counts with the
    /// usual tip.
    ///
    /// One liar of three endpoints moves the median no further than to what an honest one suggests.
    /// Of two suggestions the lower one is taken: a low tip costs time, until the transaction is
    /// replaced by one that pays more, while a high one costs ether. The configured bounds hold
    /// either way.
    pub(crate) async fn tip(&self) -> Result<u128, ChainError> {
        if self.agree <= 1 {
            return match self.first(|endpoint| async move { endpoint.priority_fee().await }).await {
                Err(ChainError::Refused { .. }) => Ok(USUAL_TIP),
                tip => tip,
            };
        }
        let suggestions = self.gathered(TIP, |endpoint| async move {
            match endpoint.priority_fee().await {
                Err(ChainError::Refused { .. }) => Ok(USUAL_TIP),
                tip => tip,
            }
        });
        let suggestions = suggestions.await?;
        self.decided(TIP);
        let tip = lower_median(suggestions.iter().map(|(_, tip)| *tip));
        // Of two endpoints, nothing shows which one is wrong.
        if suggestions.len() > 2 {
            let far = tip.max(USUAL_TIP).saturating_mul(FAR_TIMES);
            let named: Vec<usize> =
                suggestions.iter().filter(|(_, tip)| *tip > far).map(|(index, _)| *index).collect();
            self.disagreed(TIP, &named);
        }
        Ok(tip)
    }
}

/// The number in the middle; of two in the middle, the lower one; 0 if there are none.
fn lower_median(numbers: impl Iterator<Item = u128>) -> u128 {
    let mut numbers: Vec<u128> = numbers.collect();
    numbers.sort_unstable();
    numbers.get(numbers.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::lower_median;

    #[test]
    fn a_minority_does_not_move_the_median_beyond_what_the_others_say() {
        for (numbers, expected) in [
            (&[5][..], 5),
            (&[5, 900], 5),
            (&[900, 5, 7], 7),
            (&[0, 5, 7], 5),
            (&[900, 5, 6, 7], 6),
            (&[900, 900, 5, 6, 7], 7),
            (&[], 0),
        ] {
            assert_eq!(lower_median(numbers.iter().copied()), expected, "{numbers:?}");
        }
    }
}
