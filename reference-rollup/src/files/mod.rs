//! Files that commands write and read. They are JSON and read strictly: unknown, missing or
//! repeated fields, and anything after the document, are refused.

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

/// The greatest length of a document, in bytes.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// A document that names its format.
trait Document: Serialize + DeserializeOwned {
    /// The required value of `format`.
    const FORMAT: &'static str;
    /// The document's name in errors.
    const WHAT: &'static str;

    /// The value of `format` that was read.
    fn format(&self) -> &str;
}

/// Defines how commands write and read a document.
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
            /// The document as JSON.
            pub fn to_json(&self) -> String {
                super::to_json(self)
            }

            /// Parses a document.
            pub fn from_json(text: &[u8]) -> Result<Self, dac_client::files::FileError> {
                super::from_json(text)
            }

            /// Reads a document from a file.
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
