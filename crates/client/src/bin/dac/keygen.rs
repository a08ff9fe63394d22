//! `dac keygen`: makes a key and its keystore.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use dac_cli::{Failure, Output};
use dac_client::files::is_standard_stream;
use serde_json::json;

use crate::exit::CliError;
use crate::keys::{self, Kdf};

/// Make a key and keep it in a keystore that a password in a file opens.
///
/// Members need both kinds: a BLS key to attest with and an Ethereum key to register as an
/// operator. Aggregators need an Ethereum key to sign headers with and one to pay gas with; rollups
/// one to sign submissions with; the owner one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac keygen bls      --out bls.json      --password-file bls.password      --new-password-file
  dac keygen ethereum --out operator.json --password-file operator.password --new-password-file

Keystores and passwords are created readable for their owner alone and never overwritten.
Back them up apart from one another.")]
pub(crate) struct Keygen {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// A BLS12-381 key in an EIP-2335 keystore: what a member attests with.
    Bls(KeyFiles),
    /// A secp256k1 key in a Web3 (v3) keystore: operators, owners, posters, dispersers.
    Ethereum(KeyFiles),
}

#[derive(Debug, Args)]
struct KeyFiles {
    /// The keystore to create.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File with the password: its only line.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
    /// Create the password file with a random password.
    #[arg(long)]
    new_password_file: bool,
    /// How costly guessing the password is made.
    #[arg(long, value_enum, default_value_t)]
    kdf: Kdf,
}

impl Keygen {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let (kind, files) = match &self.kind {
            Kind::Bls(files) => ("bls", files),
            Kind::Ethereum(files) => ("ethereum", files),
        };
        if is_standard_stream(&files.out) {
            return Err(Failure::usage("a keystore is not written to standard output: give a file").into());
        }
        if files.out.exists() {
            return Err(Failure::usage(format!(
                "{} exists; keystores are never overwritten",
                files.out.display()
            ))
            .into());
        }
        let password = if files.new_password_file {
            keys::new_password(&files.password_file)?
        } else {
            keys::password(&files.password_file)?
        };
        let (name, public) = match &self.kind {
            Kind::Bls(_) => ("public_key", keys::create_bls(&files.out, &password, files.kdf)?.to_string()),
            Kind::Ethereum(_) => {
                ("address", keys::create_ethereum(&files.out, &password, files.kdf)?.to_checksum(None))
            }
        };
        output.result(json!({ "kind": kind, "keystore": files.out, name: public }), || {
            format!("{}: {public}\nkeystore: {}", name.replace('_', " "), files.out.display())
        });
        Ok(ExitCode::SUCCESS)
    }
}
