//! The payloads of one `dac submit`, with their batch numbers and files.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dac_cli::Failure;
use dac_client::check_payload_length;
use dac_client::files::{FileError, is_standard_stream, read_bounded};
use dac_types::limits::PAYLOAD_MAX_BYTES;

use crate::exit::CliError;

/// The placeholder for the batch number in file names.
const NUMBER: &str = "{}";

/// A payload with its batch number and files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PayloadFile {
    /// The file to read it from.
    pub(crate) path: PathBuf,
    /// The batch number.
    pub(crate) number: u64,
    /// The file for its signed submission.
    pub(crate) submission: Option<PathBuf>,
    /// The file for its certificate.
    pub(crate) certificate: Option<PathBuf>,
}

/// Gives the payloads consecutive numbers from `first` on.
pub(crate) fn numbered(
    paths: &[PathBuf],
    first: u64,
    submission: Option<&Path>,
    certificate: Option<&Path>,
) -> Result<Vec<PayloadFile>, Failure> {
    if paths.len() > 1 {
        if paths.iter().any(|path| is_standard_stream(path)) {
            return Err(Failure::usage("standard input is one payload: give `-` alone"));
        }
        for (option, name) in [("--submission", submission), ("--certificate", certificate)] {
            if let Some(name) = name.filter(|name| !has_number(name)) {
                let message = format!("{option} {} is one file for {} payloads", name.display(), paths.len());
                return Err(Failure::usage(message).hint(format!(
                    "{NUMBER} in the name stands for the batch number: {option} 'batch-{NUMBER}.json'"
                )));
            }
        }
    }
    let numbered = paths.iter().zip(0..).map(|(path, place)| {
        let number = first
            .checked_add(place)
            .ok_or_else(|| Failure::usage(format!("there is no batch number above {}", u64::MAX)))?;
        Ok(PayloadFile {
            path: path.clone(),
            number,
            submission: submission.map(|name| with_number(name, number)),
            certificate: certificate.map(|name| with_number(name, number)),
        })
    });
    numbered.collect()
}

fn has_number(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.contains(NUMBER))
}

fn with_number(name: &Path, number: u64) -> PathBuf {
    match name.to_str() {
        Some(text) => text.replace(NUMBER, &number.to_string()).into(),
        None => name.to_owned(),
    }
}

impl PayloadFile {
    /// Reads the payload.
    pub(crate) fn read(&self) -> Result<Bytes, CliError> {
        let payload = Bytes::from(read_bounded(&self.path, PAYLOAD_MAX_BYTES)?);
        check_payload_length(payload.len() as u64)?;
        Ok(payload)
    }

    /// Returns the payload's length if it can be known before reading: files have a length, pipes
    /// do not.
    pub(crate) fn length(&self) -> Result<Option<u64>, CliError> {
        let found = std::fs::metadata(&self.path)
            .map_err(|source| FileError::Io { path: self.path.clone(), source })?;
        if !found.is_file() {
            return Ok(None);
        }
        check_payload_length(found.len())?;
        Ok(Some(found.len()))
    }

    /// Whether an earlier run has signed the submission and kept it.
    pub(crate) fn is_signed(&self) -> bool {
        self.submission.as_deref().is_some_and(Path::exists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn numbers_rise_and_stand_in_the_names_of_files() {
        let (submission, certificate) = (Path::new("o/{}.json"), Path::new("c-{}-{}"));
        let files = numbered(&paths(&["a", "b"]), 7, Some(submission), Some(certificate)).unwrap();
        let told = files.iter().map(|file| {
            let name = |name: &Option<PathBuf>| name.as_deref().unwrap().to_str().unwrap().to_owned();
            (file.number, name(&file.submission), name(&file.certificate))
        });
        let expected = [(7, "o/7.json", "c-7-7"), (8, "o/8.json", "c-8-8")];
        assert_eq!(
            told.collect::<Vec<_>>(),
            expected.map(|(number, one, other)| (number, one.to_owned(), other.to_owned()))
        );
        // The file names of a single payload are used unchanged.
        let one = numbered(&paths(&["-"]), 7, Some(Path::new("order")), None).unwrap();
        assert_eq!((one[0].submission.as_deref(), one.len()), (Some(Path::new("order")), 1));
    }

    #[test]
    fn what_is_good_for_one_payload_only_is_refused_for_several() {
        let message = |names: &[&str], first, submission: Option<&str>| {
            numbered(&paths(names), first, submission.map(Path::new), None).unwrap_err().message
        };
        assert_eq!(message(&["a", "-"], 1, None), "standard input is one payload: give `-` alone");
        assert_eq!(message(&["a", "b"], 1, Some("order")), "--submission order is one file for 2 payloads");
        assert!(message(&["a", "b"], u64::MAX, None).contains("no batch number above"));
    }
}
