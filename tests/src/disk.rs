//! Disks that fill up: small file systems in a mount namespace that a test makes by running itself
//! again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Context, Failure, Result};

/// The environment variable that tells the test program that it runs in its own namespaces.
const INSIDE: &str = "DAC_OWN_MOUNTS";
/// The size of the pieces in which the ballast is written.
const BALLAST_PIECE_BYTES: usize = 16 << 10;

/// Runs the program in its second argument with files of at most its first argument, in blocks of
/// 512 bytes. The signal SIGXFSZ is ignored, so that writing fails as it does on a full disk.
const LIMITED: &str = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
/// The block size of `ulimit -f` in a POSIX shell.
const LIMIT_BLOCK_BYTES: u64 = 512;

/// Returns a command whose files cannot grow beyond `file_bytes_max`, if that is given.
pub fn limited(program: &Path, file_bytes_max: Option<u64>) -> Command {
    let Some(bytes) = file_bytes_max else { return Command::new(program) };
    let mut shell = Command::new("sh");
    shell.args(["-c", LIMITED, "sh", &(bytes / LIMIT_BLOCK_BYTES).to_string()]).arg(program);
    shell
}

/// The answer to whether a test can mount file systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// The test may mount file systems, which other processes do not see.
    Own,
    /// The test ran in its own namespaces and passed; the caller has nothing left to do.
    Passed,
    /// The system does not allow it, for this reason. The test decides what it tries instead.
    Refused(String),
}

/// Runs this test again in a namespace where it may mount file systems: as root in a new mount
/// namespace, otherwise in a new user namespace, too.
pub fn own_mounts(test: &str) -> Result<Mounts> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(Mounts::Own);
    }
    let root = rustix::process::geteuid().is_root();
    let namespaces: &[&str] = if root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let probe = Command::new("unshare")
        .args(namespaces)
        .args(["mount", "-t", "tmpfs", "-o", "size=64k", "probe", "/mnt"])
        .output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Ok(Mounts::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => return Ok(Mounts::Refused(format!("unshare: {error}"))),
    }
    let output = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().context("this program")?)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .context("this test, run again")?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    println!("in a mount namespace of its own:\n{text}");
    // The test program succeeds, too, if no test has the name.
    if output.status.success() && text.contains("1 passed") {
        return Ok(Mounts::Passed);
    }
    Err(Failure::new(format!("{test} failed in a mount namespace of its own")))
}

fn mount(arguments: &[&str], at: &Path) -> Result<()> {
    let output = Command::new("mount").args(arguments).arg(at).output().context("mount")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "mount {arguments:?} {}: {}",
        at.display(),
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// Makes a file or folder visible at another place, too.
pub fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(&["--bind", &from.display().to_string()], to)
}

/// A file system of a few megabytes in memory.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts the file system on this folder, and hides what the folder holds.
    pub fn mount(path: &Path, bytes: u64) -> Result<Self> {
        fs::create_dir_all(path).context(path.display())?;
        mount(&["-t", "tmpfs", "-o", &format!("size={bytes},mode=0777"), "small"], path)?;
        Ok(Self { path: path.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Fills the file system until `left` bytes are free.
    pub fn fill(&self, left: u64) -> Result<()> {
        let path = self.ballast();
        let mut file = File::options().create(true).append(true).open(&path).context(path.display())?;
        loop {
            match file.write(&[0xba; BALLAST_PIECE_BYTES]) {
                Ok(written) if written > 0 => {}
                Err(error) if error.kind() != ErrorKind::StorageFull => {
                    return Err(error).context(path.display());
                }
                _ => break,
            }
        }
        let length = file.metadata().context(path.display())?.len();
        file.set_len(length.saturating_sub(left)).context(path.display())
    }

    /// Deletes the ballast.
    pub fn make_room(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context(self.ballast().display())
    }
}
