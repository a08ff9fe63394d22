//! Files that commands pass around. JSON, read strictly: unknown, missing or repeated fields and
//! anything after the document are refused.

mod account;
mod exit;
mod rollup;
mod withdrawals;

use std::path::Path;

use dac_client::files::{FileError, read_document};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use account::{AccountFile, AccountFileError};
pub use exit::ExitFile;
pub use rollup::{PoseidonAddresses, RollupFile};
pub use withdrawals::{WithdrawalEntry, WithdrawalsFile};

/// Documents here, at most.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// A document that says what it is.
trait Document: Serialize + DeserializeOwned {
    /// The value of `format`.
    const FORMAT: &'static str;
    /// What it is called.
    const WHAT: &'static str;

    /// The value of `format` as it was read.
    fn format(&self) -> &str;
}

/// What commands do with a document: writing and reading it.
macro_rules! document {
    ($file:ident, $format:literal, $what:literal) => {
        impl super::Document for $file {
            const FORMAT: &'static str = $format;
            const WHAT: &'static str = $what;

            fn format(&self) -> &str {
                &self.format
            }
        }

        impl $file {
            /// The document.
            pub fn to_json(&self) -> String {
                super::to_json(self)
            }

            /// From a document.
            pub fn from_json(text: &[u8]) -> Result<Self, dac_client::files::FileError> {
                super::from_json(text)
            }

            /// From a file.
            pub fn read(path: &std::path::Path) -> Result<Self, dac_client::files::FileError> {
                super::read(path)
            }
        }
    };
}
use document;

fn to_json<D: Document>(document: &D) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("plain structures serialise");
    text.push('\n');
    text
}

fn from_json<D: Document>(text: &[u8]) -> Result<D, FileError> {
    let malformed = |problem| FileError::Malformed { what: D::WHAT, file: None, problem };
    let document: D = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    if document.format() != D::FORMAT {
        return Err(malformed(format!("expected format {:?}, got another", D::FORMAT)));
    }
    Ok(document)
}

fn read<D: Document>(path: &Path) -> Result<D, FileError> {
    read_document(path, FILE_MAX_BYTES, from_json)
}
