//! JSON files that users exchange: certificates, committees, deployments, proofs and submissions.
//! Every field is documented. Parsing is strict: unknown, missing or repeated fields and anything
//! after the document are refused.

mod certificate;
mod committee;
mod deployment;
mod proof;
mod submission;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use dac_types::{
    Address, CommitteeError, Domain, EcdsaSignatureError, GeometryError, HashKind, PublicKeyBytes,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use certificate::CertificateFile;
pub use committee::CommitteeFile;
pub use deployment::Deployment;
pub use proof::ProofFile;
pub use submission::SubmissionFile;

use crate::hexadecimal::Hex;

/// The byte-order mark, U+FEFF, in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file's path.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is larger than any document of its kind.
    #[error("{}: expected at most {limit} bytes", path.display())]
    TooLarge {
        /// The file's path.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The file exists, and the caller did not ask to overwrite it.
    #[error("{} exists; nothing was overwritten", path.display())]
    Exists {
        /// The file's path.
        path: PathBuf,
    },
    /// The file is not a valid document of its kind.
    #[error("{what}{}: {problem}", file.as_ref().map_or_else(String::new, |file| format!(" {}", file.display())))]
    Malformed {
        /// The kind of document.
        what: &'static str,
        /// The path of the file, once it is known.
        file: Option<PathBuf>,
        /// What is wrong with the document.
        problem: String,
    },
}

impl FileError {
    /// Adds the path of the file that was read to the error.
    fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Malformed { what, problem, .. } => {
                Self::Malformed { what, file: Some(path.to_owned()), problem }
            }
            error => error,
        }
    }
}

/// What is wrong inside a document; the file's path is added later.
#[derive(Debug, Error)]
enum Problem {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("expected format {expected:?}, got {got:?}")]
    Format { expected: &'static str, got: String },
    #[error("hash_kind: expected OPAQUE, KECCAK256 or SHA256, got {0:?}")]
    HashKind(String),
    #[error("payload_fingerprint has 32, 48 or 64 bytes, got {0}")]
    Fingerprint(usize),
    #[error("the file names digest {named}, its header under its domain has {got}")]
    Digest { named: String, got: String },
    #[error("seats must be 0 to n − 1 in order, got {got} at position {position}")]
    SeatOrder { got: u16, position: usize },
    #[error(transparent)]
    Absent(#[from] dac_types::AbsentSeatsError),
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    #[error("a proof has 1 to {max} bytes, got {0}", max = dac_types::limits::PROOF_MAX_BYTES)]
    ProofLength(usize),
    #[error("signature: {0}")]
    Ecdsa(#[from] EcdsaSignatureError),
}

impl Problem {
    fn of(self, what: &'static str) -> FileError {
        FileError::Malformed { what, file: None, problem: self.to_string() }
    }
}

/// `{"chain_id": 1, "registry": "0x…"}`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainJson {
    chain_id: u64,
    registry: Hex<20>,
}

impl From<Domain> for DomainJson {
    fn from(domain: Domain) -> Self {
        Self { chain_id: domain.chain_id, registry: Hex(domain.registry.into_array()) }
    }
}

impl From<DomainJson> for Domain {
    fn from(json: DomainJson) -> Self {
        Self { chain_id: json.chain_id, registry: Address::from(json.registry.0) }
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    Ok(serde_json::from_slice(text)?)
}

fn check_format(expected: &'static str, got: &str) -> Result<(), Problem> {
    if got == expected { Ok(()) } else { Err(Problem::Format { expected, got: crate::text::printable(got) }) }
}

fn hash_kind(name: &str) -> Result<HashKind, Problem> {
    [HashKind::Opaque, HashKind::Keccak256, HashKind::Sha256]
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| Problem::HashKind(crate::text::printable(name)))
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain structures serialise");
    text.push('\n');
    text
}

/// Bytes of a public key in JSON.
type PublicKeyHex = Hex<{ dac_types::PUBLIC_KEY_BYTES }>;

fn public_key(json: PublicKeyHex) -> PublicKeyBytes {
    PublicKeyBytes(json.0)
}

/// Whether a path is `-`, which stands for standard input or output as in other command lines.
pub fn is_standard_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses a path where a file exists. Standard output is never refused.
pub fn refuse_existing(path: &Path) -> Result<(), FileError> {
    if !is_standard_stream(path) && path.exists() {
        return Err(FileError::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// Reads a whole file or standard input, of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    if is_standard_stream(path) {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    } else {
        std::fs::File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    }
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Reads a text file and drops the byte-order mark that some editors write at its beginning.
pub fn read_text(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut text = read_bounded(path, limit)?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

/// Reads and parses a document. An error names the file.
pub fn read_document<T>(
    path: &Path,
    limit: u64,
    parse: impl FnOnce(&[u8]) -> Result<T, FileError>,
) -> Result<T, FileError> {
    parse(&read_text(path, limit)?).map_err(|error| error.in_file(path))
}

/// Writes a file so that it is complete or absent, even after a power loss. Refuses to replace a
/// file unless `overwrite` is set. For standard output the bytes are written directly.
pub fn write_atomically(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    if is_standard_stream(path) {
        let mut stdout = std::io::stdout().lock();
        return stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(io);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new().prefix(".dac-").tempfile_in(folder).map_err(io)?;
    temporary.write_all(bytes).map_err(io)?;
    set_usual_mode(temporary.as_file()).map_err(io)?;
    temporary.as_file().sync_all().map_err(io)?;
    if overwrite {
        temporary.persist(path).map_err(|error| io(error.error))?;
    } else {
        temporary.persist_noclobber(path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
            _ => io(error.error),
        })?;
    }
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Gives a file the usual mode: temporary files are readable by their owner alone, and what is
/// written here is public.
#[cfg(unix)]
fn set_usual_mode(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_usual_mode(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_only_when_asked_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomically(&path, b"one", false).unwrap();
        assert!(matches!(write_atomically(&path, b"two", false), Err(FileError::Exists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_atomically(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "temporary files are left");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_document_and_a_bad_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deployment.json");
        let deployment = Deployment {
            rpc_url: None,
            chain_id: 1,
            registry: Address::repeat_byte(1),
            certificate_log: Address::repeat_byte(2),
            deployed_at_block: 3,
        };
        std::fs::write(&path, format!("\u{feff}{}", deployment.to_json())).unwrap();
        assert_eq!(Deployment::read(&path).unwrap(), deployment);
        std::fs::write(&path, "no").unwrap();
        let error = Deployment::read(&path).unwrap_err().to_string();
        assert!(
            error.starts_with("deployment file") && error.contains("deployment.json: expected"),
            "{error}"
        );
    }

    #[test]
    fn files_are_read_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [0; 11]).unwrap();
        assert!(matches!(read_bounded(&path, 10), Err(FileError::TooLarge { limit: 10, .. })));
        assert_eq!(read_bounded(&path, 11).unwrap().len(), 11);
        assert!(matches!(read_bounded(&folder.path().join("none"), 1), Err(FileError::Io { .. })));
    }
}
