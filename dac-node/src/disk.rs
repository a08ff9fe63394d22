//! The file system under the store: how much room it has.

use std::io;
use std::path::PathBuf;

/// A file system.
pub trait Disk: Send + Sync + 'static {
    /// Bytes that this process may still use.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// The one that a folder is on.
#[derive(Clone, Debug)]
pub struct FolderDisk(PathBuf);

impl FolderDisk {
    /// Of `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }
}

impl Disk for FolderDisk {
    fn free_bytes(&self) -> io::Result<u64> {
        let status = rustix::fs::statvfs(&self.0)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_room_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(FolderDisk::new(folder.path()).free_bytes().unwrap() > 0);
        assert!(FolderDisk::new(folder.path().join("missing")).free_bytes().is_err());
    }
}
