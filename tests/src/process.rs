//! Processes that are killed with their owner, and write a log that failures quote.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Context, Failure, Result};
use crate::wait;

/// The number of lines of a log that a failure quotes.
const QUOTED_LINES: usize = 25;

/// Returns the folder with the programs that cargo built: that of this program, or `DAC_BIN_DIR`.
fn program_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("DAC_BIN_DIR") {
        return Ok(folder.into());
    }
    let mut folder = std::env::current_exe().context("where this program is")?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder)
}

/// Returns the path of one of the workspace's programs. Cargo does not build them for the tests of
/// another package, so that `make build` must have run.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = program_folder()?.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::new(format!("{} is not there: run `make build` first", path.display())))
}

/// Returns the root of the source tree.
pub fn source_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies one folder below the root")
}

/// A running program. It is killed with SIGKILL when dropped.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    exited: Option<ExitStatus>,
}

impl Process {
    /// Starts a program with its output appended to `log`.
    pub fn start<I, S>(name: &str, program: &Path, arguments: I, log: &Path) -> Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(name, command, log)
    }

    /// Runs a command with its output appended to `log`.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).context(folder.display())?;
        }
        let file = File::options().create(true).append(true).open(log).context(log.display())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("a second handle of a log")?)
            .stderr(file)
            .spawn()
            .context(name)?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child, exited: None })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the name that messages use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the process has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the exit status, or `None` while the process runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().ok().flatten();
        }
        self.exited
    }

    /// Fails with the end of the log if the process is not running.
    pub fn check_running(&mut self) -> Result<()> {
        match self.exited() {
            None => Ok(()),
            Some(status) => {
                Err(Failure::new(format!("{} ended with {status}\n{}", self.name, self.log_end())))
            }
        }
    }

    /// Returns the last lines of the log.
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let quoted = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n  | ");
        format!("  | {quoted}\n  (whole log: {})", self.log.display())
    }

    /// Kills the process with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            let _ = self.child.kill();
            self.exited = self.child.wait().ok();
        }
    }

    /// Stops the process with SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Continues the process with SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends SIGTERM and waits for a clean end.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let what = format!("{} to stop after SIGTERM", self.name);
        let status = wait::until(&what, limit, async || self.exited()).await;
        status.map_err(|failure| Failure::new(format!("{failure}\n{}", self.log_end())))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(id, signal).context(&self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
