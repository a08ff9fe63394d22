//! Checks a submission against L1 before a key is opened or a byte is sent.

use dac_chain::{ChainError, RegistryView, SettlementReader};
use dac_cli::{Exit, Failure, count, span};
use dac_types::{Address, AdmittedRollup, PostingMode};

use crate::context::Chain;
use crate::exit::CliError;

/// The submission that a rollup is about to sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) rollup: Address,
    pub(crate) payload_length: u64,
    pub(crate) lifetime_seconds: u64,
    pub(crate) posting: PostingMode,
}

impl Wish {
    /// Returns the rollup's terms if they allow the submission.
    pub(crate) async fn check(&self, chain: &Chain) -> Result<AdmittedRollup, CliError> {
        let view = chain.view().await?;
        let admitted = self.terms(&view)?;
        if !self.posting.records_certificate() && !is_contract(chain, self.rollup).await? {
            let message =
                format!("there is no settlement contract at {}: nothing settles there", self.rollup);
            return Err(Failure::new(Exit::Refused, message)
                .hint("--posting record, which needs no contract; or check --rollup")
                .into());
        }
        Ok(admitted)
    }

    fn terms(&self, view: &RegistryView) -> Result<AdmittedRollup, Failure> {
        let (rollup, registry) = (self.rollup, view.registry);
        let admitted = *view.rollup(rollup).ok_or_else(|| {
            Failure::new(Exit::Refused, format!("registry {registry} does not admit rollup {rollup}"))
                .hint("check --rollup; the committee's owner admits rollups: dac admin admit-rollup")
        })?;
        let retention = admitted.retention_max_seconds;
        if self.lifetime_seconds > retention {
            let (asked, allowed) = (span(self.lifetime_seconds), span(retention));
            let message = format!("--expires-in: {asked} is longer than the rollup's retention of {allowed}");
            return Err(Failure::new(Exit::Refused, message)
                .hint("a shorter --expires-in; the committee's owner sets the retention"));
        }
        let quota = admitted.daily_payload_bytes;
        if self.payload_length > quota {
            let length = count(self.payload_length, "byte");
            let message = format!("the payload has {length}, the rollup may submit {quota} in a day");
            return Err(Failure::new(Exit::Refused, message).hint("the committee's owner sets the quota"));
        }
        if view.paused {
            return Err(Failure::new(
                Exit::Unavailable,
                "the committee's owner has paused it: no new batches",
            )
            .hint("try again later"));
        }
        Ok(admitted)
    }
}

/// Whether there is a settlement contract at an address.
pub(crate) async fn is_contract(chain: &Chain, rollup: Address) -> Result<bool, ChainError> {
    match SettlementReader::new(chain.endpoints.clone(), rollup).coverage().await {
        Ok(_) => Ok(true),
        Err(ChainError::NoContract { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use dac_types::B256;

    use super::*;
    use dac_chain::BlockRef;

    const ROLLUP: Address = Address::repeat_byte(7);

    #[test]
    fn what_can_never_pass_is_refused_with_the_options_name() {
        let terms = AdmittedRollup {
            rollup: ROLLUP,
            poster: Address::repeat_byte(8),
            retention_max_seconds: 30 * 86_400,
            daily_payload_bytes: 1_000,
        };
        let mut view = RegistryView {
            chain_id: 1,
            registry: Address::repeat_byte(9),
            head: BlockRef { number: 1, hash: B256::ZERO, timestamp: 1 },
            committees: BTreeMap::new(),
            current_epoch: None,
            rollups: HashMap::from([(ROLLUP, terms)]),
            paused: false,
        };
        let wish = Wish {
            rollup: ROLLUP,
            payload_length: 1_000,
            lifetime_seconds: 30 * 86_400,
            posting: PostingMode::Record,
        };
        assert_eq!(wish.terms(&view).unwrap(), terms);
        for (wish, exit, expected) in [
            (Wish { rollup: Address::ZERO, ..wish }, Exit::Refused, "does not admit rollup 0x0000"),
            (
                Wish { lifetime_seconds: 60 * 86_400, ..wish },
                Exit::Refused,
                "--expires-in: 60 d 0 h is longer",
            ),
            (Wish { payload_length: 1_001, ..wish }, Exit::Refused, "1001 bytes"),
        ] {
            let failure = wish.terms(&view).unwrap_err();
            assert_eq!(failure.exit, exit);
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
        view.paused = true;
        assert_eq!(wish.terms(&view).unwrap_err().exit, Exit::Unavailable);
    }
}
