//! `reference-rollup rebuild`: the state again, and a proof to leave with.

use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use clap::Args;
use dac_cli::{Exit, Failure, Output};
use dac_client::files::{FileError, read_bounded, write_atomically};
use reference_rollup::account::{Account, AccountIndex};
use reference_rollup::exit::{Owner, accounts_of, exit_proof};
use reference_rollup::field;
use reference_rollup::files::{AccountFile, ExitFile, WithdrawalsFile};
use reference_rollup::l1::Read;
use reference_rollup::rebuild::{RebuildError, Rebuilder, Rebuilt};
use reference_rollup::shape::PAYLOAD_BYTES;
use reference_rollup::state::State;
use serde_json::{Value, json};

use super::context::{Rollup, RollupArgs};
use super::failure::CliError;
use super::output::fields;

/// Accounts that people are shown; machines get all.
const ACCOUNTS_SHOWN: usize = 20;

/// Rebuild the rollup's state from its batches and from L1, and make the proof to leave with.
///
/// Payloads are files named after the batch's number, 000001.bin and so on, as
/// `dac retrieve --rollup` writes them. Each must lead to the root that settled, so wrong ones are
/// noticed, and named. Nothing is sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dac retrieve --rollup $ROLLUP --out-dir batches --deployment deployment.json
  reference-rollup rebuild batches --rollup-file rollup.json \\
      --account-key alice.json --proof-out exit.json")]
pub(crate) struct Rebuild {
    /// The folder with the payloads.
    #[arg(value_name = "PAYLOAD_DIR")]
    payload_dir: PathBuf,
    /// The account whose proof is wanted: its file, written by `reference-rollup keygen`.
    #[arg(long, value_name = "FILE")]
    account_key: Option<PathBuf>,
    /// Show the account at this place of the tree, or choose among several of the same key.
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// The exit proof to write. What it proves is the account's balance in the last state.
    #[arg(long, value_name = "FILE", requires = "account_key")]
    proof_out: Option<PathBuf>,
    /// Where to write what each batch granted on L1, a file a batch, for `reference-rollup claim`.
    /// Made if it is not there.
    #[arg(long, value_name = "DIR")]
    withdrawals_out: Option<PathBuf>,
    /// Overwrite these files.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    rollup: RollupArgs,
}

impl Rebuild {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        if let Some(path) = self.proof_out.as_ref().filter(|path| path.exists() && !self.force) {
            // Before the work is done.
            return Err(FileError::Exists { path: path.clone() }.into());
        }
        let owner = self.account_key.as_deref().map(AccountFile::read).transpose()?.map(|file| file.owner());
        let rollup = self.rollup.connect().await?;

        let first = rollup.file.deployed_at_block;
        let bar = output.count_bar(0, "L1 blocks");
        let progress = |next: u64, last: u64| {
            bar.set_length((last + 1).saturating_sub(first));
            bar.set_position(next.saturating_sub(first));
        };
        let read = rollup.reader().history(first, progress).await;
        bar.finish_and_clear();
        let read = read?;

        let Rebuilt { state, withdrawals } = rebuild(&self.payload_dir, &read, output)?;
        let root = field::to_b256(state.root());
        if root != read.state_root {
            // Only without any batch: each of them was compared.
            let message = format!("the empty state has root {root}, the contract {}", read.state_root);
            return Err(Failure::new(Exit::Failed, message).into());
        }
        let chosen = self.choose(&state, owner.as_ref())?;
        let proof = self.prove(&rollup, &state, root, owner.as_ref(), chosen)?;
        let granted: Vec<_> =
            withdrawals.iter().map(|(batch, granted)| WithdrawalsFile::new(*batch, granted)).collect();
        self.write(&granted)?;
        self.show(output, &read, &state, root, chosen.zip(Some(proof)), &granted);
        Ok(())
    }

    /// The account that is meant, if one is.
    fn choose(&self, state: &State, owner: Option<&Owner>) -> Result<Option<AccountIndex>, CliError> {
        let index = self.index.map(AccountIndex);
        let Some(owner) = owner else {
            let known = index.is_none_or(|index| !state.account(index).is_empty());
            return if known {
                Ok(index)
            } else {
                Err(Failure::new(Exit::Failed, "nobody has an account at --index").into())
            };
        };
        let own = accounts_of(state, owner.id());
        match (index, &own[..]) {
            (Some(index), own) if own.contains(&index) => Ok(Some(index)),
            (Some(_), _) => {
                Err(Failure::new(Exit::Failed, "the account at --index is not this key's").into())
            }
            (None, &[index]) => Ok(Some(index)),
            (None, []) => {
                let message = format!("no account has id {}", field::to_b256(owner.id().0));
                Err(Failure::new(Exit::Failed, message)
                    .hint("its deposits were perhaps not taken: `reference-rollup refund`")
                    .into())
            }
            (None, several) => {
                let places: Vec<_> = several.iter().map(|index| index.0.to_string()).collect();
                Err(Failure::usage(format!("the key has accounts at {}", places.join(", ")))
                    .hint("--index NUMBER chooses one; each can leave")
                    .into())
            }
        }
    }

    /// The proof, written if that is asked for.
    fn prove(
        &self,
        rollup: &Rollup,
        state: &State,
        root: B256,
        owner: Option<&Owner>,
        chosen: Option<AccountIndex>,
    ) -> Result<Option<ExitFile>, CliError> {
        let (Some(owner), Some(index)) = (owner, chosen) else { return Ok(None) };
        let proof = exit_proof(state, index, owner)?;
        proof.check(root)?;
        let file = ExitFile::new(rollup.file.chain_id, rollup.settlement(), root, proof);
        if let Some(path) = &self.proof_out {
            write_atomically(path, file.to_json().as_bytes(), self.force)?;
        }
        Ok(Some(file))
    }

    /// What batches granted, written if that is asked for.
    fn write(&self, granted: &[WithdrawalsFile]) -> Result<(), CliError> {
        let Some(folder) = &self.withdrawals_out else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|source| FileError::Io { path: folder.clone(), source })?;
        for file in granted {
            let path = folder.join(format!("withdrawals-{:06}.json", file.batch_number));
            write_atomically(&path, file.to_json().as_bytes(), self.force)?;
        }
        Ok(())
    }

    fn show(
        &self,
        output: &Output,
        read: &Read,
        state: &State,
        root: B256,
        chosen: Option<(AccountIndex, Option<ExitFile>)>,
        granted: &[WithdrawalsFile],
    ) {
        let accounts = state.accounts();
        let document = json!({
            "state_root": root,
            "batches": read.history.batches.len(),
            "inputs_consumed": read.history.batches.last().map_or(0, |batch| batch.inputs_consumed),
            "inbox_length": read.history.inbox.len(),
            "as_of_block": read.as_of.number,
            "accounts": accounts.iter().map(show_account).collect::<Vec<_>>(),
            "account": chosen.as_ref().map(|(index, _)| show_account(&(*index, state.account(*index)))),
            "exit_proof": chosen.as_ref().and_then(|(_, proof)| proof.as_ref()),
            "proof_file": self.proof_out,
            "withdrawals": granted,
        });
        output.result(document, || {
            let mut rows = vec![
                ("state root", format!("{root}, as settled")),
                ("batches", read.history.batches.len().to_string()),
                ("accounts", accounts.len().to_string()),
                ("withdrawals", granted.iter().map(|file| file.withdrawals.len()).sum::<usize>().to_string()),
            ];
            if let Some((index, proof)) = &chosen {
                rows.push(("account", line(&(*index, state.account(*index)))));
                if let (Some(_), Some(path)) = (proof, &self.proof_out) {
                    rows.push(("exit proof", path.display().to_string()));
                }
            } else {
                rows.extend(accounts.iter().take(ACCOUNTS_SHOWN).map(|account| ("", line(account))));
                if accounts.len() > ACCOUNTS_SHOWN {
                    rows.push(("", "… (--json shows all)".to_owned()));
                }
            }
            fields(&rows)
        });
    }
}

/// One payload after the other, so that they need not all be held.
fn rebuild(folder: &Path, read: &Read, output: &Output) -> Result<Rebuilt, CliError> {
    let bar = output.count_bar(read.history.batches.len() as u64, "batches");
    let mut rebuilder = Rebuilder::new(&read.history)?;
    while let Some(due) = rebuilder.due() {
        let path = folder.join(format!("{:06}.bin", due.number));
        let payload = match read_bounded(&path, PAYLOAD_BYTES as u64 + 1) {
            Ok(payload) => payload,
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(RebuildError::MissingPayload { batch: due.number, digest: due.digest }.into());
            }
            Err(error) => return Err(error.into()),
        };
        rebuilder = rebuilder.apply(&payload)?;
        bar.set_position(rebuilder.applied());
    }
    bar.finish_and_clear();
    Ok(rebuilder.finish()?)
}

fn show_account((index, account): &(AccountIndex, Account)) -> Value {
    json!({
        "index": index.0,
        "id": field::to_b256(account.id.0),
        "nonce": account.nonce,
        "balance": account.balance,
    })
}

fn line((index, account): &(AccountIndex, Account)) -> String {
    format!(
        "{}: {} gwei, nonce {}, id {}",
        index.0,
        account.balance,
        account.nonce,
        field::to_b256(account.id.0)
    )
}
