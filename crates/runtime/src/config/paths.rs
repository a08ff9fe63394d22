//! Paths in configuration files.

use std::path::{Path, PathBuf};

/// Makes a path that is relative to `folder` absolute.
pub fn resolve(path: &mut PathBuf, folder: &Path) {
    *path = folder.join(&*path);
}
