//! Removes files from the kernel's cache, so that reads come from the disk.

use std::fs::{self, File};
use std::path::Path;

use dac_tests::{Context, Result};
use rustix::fs::{Advice, fadvise};

/// Asks the kernel to drop what it has cached of all files in a folder and below it. Data that are
/// not on the disk yet are written first. A process that has the files open must be stopped before,
/// because it has its own caches.
pub fn drop_cached(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).context(folder.display())? {
        let path = entry.context(folder.display())?.path();
        if path.is_dir() {
            drop_cached(&path)?;
            continue;
        }
        let file = File::open(&path).context(path.display())?;
        file.sync_all().context(path.display())?;
        fadvise(&file, 0, None, Advice::DontNeed).context(path.display())?;
    }
    Ok(())
}
