//! `reference-rollup keygen`: a key of the rollup.

use std::path::PathBuf;

use alloy_primitives::Address;
use clap::Args;
use dac_cli::Output;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use reference_rollup::field;
use reference_rollup::files::AccountFile;
use reference_rollup::keys::SecretKey;
use serde_json::json;

use super::context::address;
use super::failure::CliError;

/// Make a key of the rollup and keep it in a file that only you can read.
///
/// Key and recipient together are the account: its id is the hash of both, so that an exit pays
/// this address and no other. The account opens with the first deposit for the id. The file is not
/// encrypted: keep it where secrets are kept, and back it up.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  reference-rollup keygen --out alice.json --recipient $RECIPIENT")]
pub(crate) struct Keygen {
    /// The file to create, readable for its owner alone. Never overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The L1 address that exits of this account pay.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    recipient: Address,
}

impl Keygen {
    pub(crate) fn run(self, output: &Output) -> Result<(), CliError> {
        let key = SecretKey::random(&mut ChaCha20Rng::from_seed(rand::random()));
        let account = AccountFile { key, recipient: self.recipient };
        account.create(&self.out)?;
        let owner = account.owner();
        let (x, y) = owner.key.coordinates();
        let id = field::to_b256(owner.id().0);
        let document = json!({
            "file": self.out,
            "account_id": id,
            "key_x": field::to_b256(x),
            "key_y": field::to_b256(y),
            "recipient": self.recipient,
        });
        output.result(document, || {
            format!("account id {id}\nrecipient  {}\nkey file   {}", self.recipient, self.out.display())
        });
        Ok(())
    }
}
