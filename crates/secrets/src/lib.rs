#![doc = include_str!("../README.md")]

mod access;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The largest size of a password file in bytes.
pub const PASSWORD_MAX_BYTES: usize = 4096;

/// The permission bits with which only the owner may read and write.
const OWNER_ONLY: u32 = 0o600;

/// The reasons why a secret file cannot be used.
#[derive(Debug, Error)]
pub enum SecretFileError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Other users of this machine may read or change the file.
    #[error(
        "{path} has mode {mode:03o}: others may read or change this secret; run `chmod 600 {path}`, or give the file to \
         root, with mode 640 or 440 and a group that this process is in", path = path.display()
    )]
    TooOpen {
        /// The path of the file.
        path: PathBuf,
        /// The permission bits of the file.
        mode: u32,
    },
    /// The path is a folder, a pipe or a device, which is never read.
    #[error("{path} is not a regular file", path = path.display())]
    NotAFile {
        /// The path that was given.
        path: PathBuf,
    },
    /// The file is larger than a file of its kind may be.
    #[error("{path} has more than {limit} bytes", path = path.display())]
    TooLong {
        /// The path of the file.
        path: PathBuf,
        /// The largest size in bytes.
        limit: usize,
    },
    /// The password file contains no password.
    #[error("{path} is empty", path = path.display())]
    Empty {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file is not UTF-8, but its content must be text.
    #[error("{path} is not UTF-8", path = path.display())]
    NotText {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file exists already, and secrets are never overwritten.
    #[error("{path} exists already and is not overwritten", path = path.display())]
    Exists {
        /// The path of the file.
        path: PathBuf,
    },
}

/// A password. `Debug` does not show it, and it is overwritten with zeros when it is dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Password(String);

impl Password {
    /// Makes a password from text that does not come from a file.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads the password that a file contains. One newline at its end is removed, and nothing
    /// else.
    pub fn read(path: &Path) -> Result<Self, SecretFileError> {
        let bytes = read(path, PASSWORD_MAX_BYTES)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| SecretFileError::NotText { path: path.to_owned() })?;
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            return Err(SecretFileError::Empty { path: path.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the secret text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Reads a secret file of at most `limit` bytes, which no other user may read or change. If root
/// owns the file, a group of this process may read it; Kubernetes and Debian hand out keys in this
/// way.
pub fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let (file, metadata) = open(path)?;
    if !access::is_private(&access::Owner::of(&metadata), &access::Process::this()) {
        return Err(SecretFileError::TooOpen { path: path.to_owned(), mode: metadata.mode() & 0o777 });
    }
    // The capacity is large enough from the start: a vector that grows leaves copies of the secret
    // in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    read_into(file, path, limit, &mut bytes)?;
    Ok(bytes)
}

/// Reads a file of at most `limit` bytes that all users may read, such as a certificate.
pub fn read_public(path: &Path, limit: usize) -> Result<Vec<u8>, SecretFileError> {
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    read_into(file, path, limit, &mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file, and does not wait for a pipe. Links are followed, because the volumes of
/// Kubernetes and of certbot consist of them. Only the operator can create a link in a folder of
/// keys.
fn open(path: &Path) -> Result<(File, fs::Metadata), SecretFileError> {
    let io = |source| SecretFileError::Io { path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).custom_flags(access::NO_WAITING).open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile { path: path.to_owned() });
    }
    Ok((file, metadata))
}

fn read_into(file: File, path: &Path, limit: usize, bytes: &mut Vec<u8>) -> Result<(), SecretFileError> {
    let io = |source| SecretFileError::Io { path: path.to_owned(), source };
    file.take(limit as u64 + 1).read_to_end(bytes).map_err(io)?;
    if bytes.len() > limit {
        return Err(SecretFileError::TooLong { path: path.to_owned(), limit });
    }
    Ok(())
}

/// Creates a file that only its owner may read. The file appears whole or not at all, and it
/// survives a power cut after this returned. A file that exists is an error and stays unchanged.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    static SEQUENCE: AtomicU32 = AtomicU32::new(0);

    let io = |source| SecretFileError::Io { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file")));
    };
    let mut unfinished = std::ffi::OsString::from(".");
    unfinished.push(name);
    unfinished.push(format!(".{}-{}", std::process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed)));
    let unfinished = folder.join(unfinished);

    let written =
        OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&unfinished).and_then(
            |mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            },
        );
    // Creating a link fails if the name is taken; renaming would overwrite the other file.
    let result = match written.and_then(|()| fs::hard_link(&unfinished, path)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(SecretFileError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(io(error)),
    };
    let removed = fs::remove_file(&unfinished);
    result?;
    removed.map_err(io)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        create(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn passwords_lose_one_newline_and_nothing_else() {
        for (text, expected) in
            [("pass", "pass"), ("pass\n", "pass"), ("pass\r\n", "pass"), (" p \n\n", " p \n"), ("ü", "ü")]
        {
            let (_folder, path) = file(text.as_bytes());
            assert_eq!(Password::read(&path).unwrap().expose(), expected);
        }
    }

    #[test]
    fn files_that_hold_no_password_are_refused() {
        let (_folder, path) = file(b"\n");
        assert!(matches!(Password::read(&path), Err(SecretFileError::Empty { .. })));
        let (_folder, path) = file(&[0xff, 0xfe]);
        assert!(matches!(Password::read(&path), Err(SecretFileError::NotText { .. })));
        let (_folder, path) = file(&[b'x'; PASSWORD_MAX_BYTES]);
        assert!(Password::read(&path).is_ok());
        let (folder, path) = file(&[b'x'; PASSWORD_MAX_BYTES + 1]);
        assert!(matches!(
            Password::read(&path),
            Err(SecretFileError::TooLong { limit: PASSWORD_MAX_BYTES, .. })
        ));
        assert!(matches!(Password::read(folder.path()), Err(SecretFileError::NotAFile { .. })));
        assert!(matches!(Password::read(&folder.path().join("none")), Err(SecretFileError::Io { .. })));
    }

    #[test]
    fn files_that_others_may_read_are_refused() {
        for mode in [0o640, 0o604, 0o620, 0o660, 0o644] {
            let (_folder, path) = file(b"pass");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match Password::read(&path).unwrap_err() {
                SecretFileError::TooOpen { mode: got, .. } => assert_eq!(got, mode),
                other => panic!("{other}"),
            }
        }
    }

    /// An open that waits for a writer of the pipe would never return.
    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success()
        );
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert!(matches!(read(path, 10), Err(SecretFileError::NotAFile { .. })));
            assert!(matches!(read_public(path, 10), Err(SecretFileError::NotAFile { .. })));
        }
    }

    #[test]
    fn links_are_followed_and_what_they_point_to_is_judged() {
        let (folder, path) = file(b"pass");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(Password::read(&link).unwrap().expose(), "pass");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Password::read(&link), Err(SecretFileError::TooOpen { .. })));
        assert_eq!(read_public(&link, 4).unwrap(), b"pass");
        assert!(matches!(read_public(&link, 3), Err(SecretFileError::TooLong { .. })));
    }

    #[test]
    fn created_files_are_private_whole_and_never_overwritten() {
        let (folder, path) = file(b"first");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(create(&path, b"second"), Err(SecretFileError::Exists { .. })));
        assert_eq!(*read(&path, 100).unwrap(), b"first");
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "nothing unfinished is left");
        assert!(matches!(create(&folder.path().join("no/such"), b"x"), Err(SecretFileError::Io { .. })));
        assert!(matches!(create(Path::new("/"), b"x"), Err(SecretFileError::Io { .. })));
    }

    #[test]
    fn debug_hides_a_password() {
        assert_eq!(format!("{:?}", Password::new("hunter2")), "Password(…)");
    }
}
