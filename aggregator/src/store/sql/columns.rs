//! Single columns: their encoding, and the errors for those that do not fit.

use dac_database::sqlx;
use dac_database::sqlx::any::AnyRow;
use dac_types::{B256, BatchDigest, keccak256};

use crate::batch::SubmissionDigest;
use crate::store::StoreError;

/// Reads a hash; none if the column does not have 32 bytes.
pub(super) fn b256(bytes: &[u8]) -> Option<B256> {
    <[u8; 32]>::try_from(bytes).ok().map(B256::from)
}

/// Reads the digest of a header; none if the column does not have 32 bytes.
pub(super) fn batch_digest(bytes: &[u8]) -> Option<BatchDigest> {
    b256(bytes).map(BatchDigest)
}

/// Returns the key of a batch's rows.
pub(super) fn key(id: SubmissionDigest) -> Vec<u8> {
    id.0.to_vec()
}

/// Makes the error for a corrupt part of a batch from the problem that was found.
pub(super) fn corrupt(id: SubmissionDigest, what: &'static str) -> impl FnOnce(String) -> StoreError {
    move |problem| StoreError::Corrupt { id, what, problem }
}

/// Returns an error as text.
pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Returns the bytes with their hash in front. A certificate with a changed bit often still
/// decodes; with the hash, the store notices the change before it gives the certificate to a member
/// or a client.
pub(super) fn seal(bytes: &[u8]) -> Vec<u8> {
    [keccak256(bytes).as_slice(), bytes].concat()
}

/// Checks the hash and returns the bytes behind it.
pub(super) fn unseal(sealed: &[u8]) -> Result<&[u8], String> {
    let (hash, bytes) = sealed.split_at_checked(32).ok_or_else(|| format!("{} bytes", sealed.len()))?;
    if keccak256(bytes).as_slice() == hash { Ok(bytes) } else { Err("it is not what was written".to_owned()) }
}

/// Encodes a number that the database adds up or compares with 0, which the usual encoding of `u64`
/// does not allow. Such numbers are small.
pub(super) fn summable(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Turns the driver's error for a missing row into none.
pub(super) fn optional(result: Result<AnyRow, sqlx::Error>) -> Result<Option<AnyRow>, StoreError> {
    match result {
        Ok(row) => Ok(Some(row)),
        Err(sqlx::Error::RowNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_breaks_the_seal() {
        let sealed = seal(b"certificate");
        assert_eq!(unseal(&sealed), Ok(&b"certificate"[..]));
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(&changed).is_err(), "bit {bit}");
        }
        assert!(unseal(&sealed[..31]).is_err());
    }
}
