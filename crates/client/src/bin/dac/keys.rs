//! Opens the keys in keystores for the time of a command.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use dac_bls::SecretKey;
use dac_chain::admin::{Account, RegistryAdmin};
use dac_chain::{EcdsaKey, TransactionSigner as _};
use dac_cli::{Failure, Output};
use dac_keys::{KdfCost, KeystoreError, Password};
use dac_types::{Address, B256, Domain, PublicKeyBytes};

use crate::context::Chain;

/// An L1 account's key.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Key")]
pub(crate) struct EthereumKeyArgs {
    /// Web3 keystore of the L1 account that sends the transaction.
    #[arg(long, visible_aliases = ["operator", "owner"], value_name = "FILE", env = "DAC_KEY")]
    key: PathBuf,
    /// File with the password of that keystore.
    #[arg(long, value_name = "FILE", env = "DAC_PASSWORD_FILE")]
    password_file: PathBuf,
}

impl EthereumKeyArgs {
    /// Makes the arguments for a command that has other names for them.
    pub(crate) fn of(key: &Path, password_file: &Path) -> Self {
        Self { key: key.to_owned(), password_file: password_file.to_owned() }
    }

    pub(crate) fn open(&self, output: &Output) -> Result<EcdsaKey, Failure> {
        open_ethereum(&self.key, &self.password_file, output)
    }
}

/// How costly guessing the password is made.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Kdf {
    /// A second and 256 MiB for each guess.
    #[default]
    Standard,
    /// For throw-away keys of tests and demos.
    Light,
}

impl From<Kdf> for KdfCost {
    fn from(kdf: Kdf) -> Self {
        match kdf {
            Kdf::Standard => Self::Standard,
            Kdf::Light => Self::Light,
        }
    }
}

pub(crate) fn new_password(path: &Path) -> Result<Password, Failure> {
    dac_keys::create_password_file(path).map_err(|error| keystore_error(path, &error))
}

pub(crate) fn password(path: &Path) -> Result<Password, Failure> {
    Password::read(path).map_err(|error| {
        Failure::usage(format!("the password file: {error}"))
            .hint("--new-password-file creates one with a random password")
    })
}

pub(crate) fn create_bls(path: &Path, password: &Password, kdf: Kdf) -> Result<PublicKeyBytes, Failure> {
    let key = SecretKey::generate(&mut rand::rng());
    dac_keys::create_bls_keystore(path, &key, password, kdf.into())
        .map_err(|error| keystore_error(path, &error))?;
    Ok(key.public_key().to_compressed())
}

pub(crate) fn create_ethereum(path: &Path, password: &Password, kdf: Kdf) -> Result<Address, Failure> {
    let key = EcdsaKey::random();
    dac_keys::create_ecdsa_keystore(path, &key, password, kdf.into())
        .map_err(|error| keystore_error(path, &error))?;
    Ok(key.address())
}

/// Opens a BLS key. This takes seconds, so that callers check everything else first.
pub(crate) fn open_bls(path: &Path, password_file: &Path, output: &Output) -> Result<SecretKey, Failure> {
    opening(path, output, || dac_keys::load_bls_keystore(path, password_file))
}

/// Opens the key of an L1 account. This takes seconds, too.
pub(crate) fn open_ethereum(path: &Path, password_file: &Path, output: &Output) -> Result<EcdsaKey, Failure> {
    opening(path, output, || dac_keys::load_ecdsa_keystore(path, password_file))
}

fn opening<T>(
    path: &Path,
    output: &Output,
    open: impl FnOnce() -> Result<T, KeystoreError>,
) -> Result<T, Failure> {
    let what = format!("opening the keystore {} …", path.display());
    output.while_slow(&what, open).map_err(|error| keystore_error(path, &error))
}

fn keystore_error(path: &Path, error: &KeystoreError) -> Failure {
    Failure::usage(format!("keystore {}: {error}", path.display()))
}

/// Signs 32 bytes and returns r, s and v.
pub(crate) fn sign(key: &EcdsaKey, digest: B256) -> Result<[u8; 65], dac_chain::ChainError> {
    Ok(key.sign_hash(&digest)?.as_bytes())
}

/// The registry, with one account that sends the transactions.
pub(crate) struct AccountRegistry {
    address: Address,
    pub(crate) registry: RegistryAdmin,
}

impl AccountRegistry {
    pub(crate) const fn address(&self) -> Address {
        self.address
    }

    pub(crate) fn domain(&self) -> Domain {
        self.registry.domain()
    }
}

pub(crate) fn registry_admin(chain: &Chain, key: EcdsaKey) -> AccountRegistry {
    let address = key.address();
    let account = Account::new(chain.endpoints.clone(), Arc::new(key));
    AccountRegistry { address, registry: RegistryAdmin::new(account, chain.registry) }
}
