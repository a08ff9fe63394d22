//! Paths in configuration files.

use std::path::{Path, PathBuf};

/// Makes a relative path absolute: it is relative to `folder`.
pub fn resolve(path: &mut PathBuf, folder: &Path) {
    *path = folder.join(&*path);
}
