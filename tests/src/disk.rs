//! Disks that fill up: small file systems in a mount namespace that the test makes for itself, by
//! running itself again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Context, Failure, Result};

/// Says to this test program that it runs in namespaces of its own.
const INSIDE: &str = "DAC_OWN_MOUNTS";
/// Bytes of ballast written at once.
const BALLAST_PIECE_BYTES: usize = 16 << 10;

/// Runs the program of its arguments with files that do not grow beyond its first one, in blocks of
/// 512 bytes. The signal that tells of it is ignored, so that writing fails as it does on a full
/// disk.
const LIMITED: &str = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
/// Of `ulimit -f` in a POSIX shell.
const LIMIT_BLOCK_BYTES: u64 = 512;

/// A program whose files cannot grow beyond so many bytes, where so many are given.
pub fn limited(program: &Path, file_bytes_max: Option<u64>) -> Command {
    let Some(bytes) = file_bytes_max else { return Command::new(program) };
    let mut shell = Command::new("sh");
    shell.args(["-c", LIMITED, "sh", &(bytes / LIMIT_BLOCK_BYTES).to_string()]).arg(program);
    shell
}

/// Where a test that mounts file systems stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// It may mount what it likes: nobody else sees it.
    Own,
    /// It ran in namespaces of its own and passed; nothing is left to do.
    Passed,
    /// The system does not let it, and why. What is tried instead is for the test to say.
    Refused(String),
}

/// Runs this test again where it may mount file systems. As root a new mount namespace does; else a
/// new user namespace as well.
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
    // A name that matches no test passes as well.
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

/// One file or folder at another place as well.
pub fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(&["--bind", &from.display().to_string()], to)
}

/// A file system of a few megabytes.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it on this folder, which hides what is there.
    pub fn mount(path: &Path, bytes: u64) -> Result<Self> {
        fs::create_dir_all(path).context(path.display())?;
        mount(&["-t", "tmpfs", "-o", &format!("size={bytes},mode=0777"), "small"], path)?;
        Ok(Self { path: path.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Fills it up until so many bytes are left.
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

    /// Takes the ballast away.
    pub fn make_room(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context(self.ballast().display())
    }
}
