//! A PostgreSQL server for one test, which can be killed: its postmaster, a backend, or all
//! processes at once.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dac_database::sqlx::{self, Connection};
use rand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use url::Url;

use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::process::Process;
use crate::wait;

/// The longest time that a start may take. Crash recovery of the little that tests write is faster,
/// even on a busy disk.
const START_LIMIT: Duration = Duration::from_secs(180);
/// The time that a killed postmaster's backends have to notice its death.
const ORPHANS_LIMIT: Duration = Duration::from_secs(1);
/// The pause between two attempts to start: backends of a killed postmaster must end first.
const START_PAUSE: Duration = Duration::from_millis(100);

/// The unprivileged user that runs the server if tests run as root, because the server refuses to
/// run as root.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
}

/// A server in its own folder, reached through a socket there. It is stopped when dropped.
pub struct Cluster {
    programs: PathBuf,
    /// The server's folder. Its path must be short, because the length of a socket's path is
    /// limited.
    folder: TempDir,
    data: PathBuf,
    owner: Option<Owner>,
    server: Option<Process>,
    file_bytes_max: Option<u64>,
}

impl Cluster {
    /// Sets up a server and starts it.
    pub async fn start() -> Result<Self> {
        Self::start_with_data(None).await
    }

    /// Does the same with the data in this folder, which must not exist, while its parent must.
    pub async fn start_with_data(data: Option<PathBuf>) -> Result<Self> {
        let programs = programs()?;
        let folder = TempDir::with_prefix_in("dac-cluster-", "/tmp").context("a folder in /tmp")?;
        let owner = owner()?;
        let data = data.unwrap_or_else(|| folder.path().join("data"));
        if let Some(owner) = owner {
            for path in [folder.path(), data.parent().context("the data's folder")?] {
                chown(path, Some(owner.user), Some(owner.group)).context(path.display())?;
            }
        }
        let mut this = Self { programs, folder, data, owner, server: None, file_bytes_max: None };
        let mut initdb = this.command("initdb");
        initdb.arg("-D").arg(&this.data);
        // The tests' data need not survive a power loss.
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
        let output = tokio::task::spawn_blocking(move || initdb.output()).await.context("initdb")??;
        if !output.status.success() {
            return Err(Failure::new(format!("initdb: {}", String::from_utf8_lossy(&output.stderr))));
        }
        this.launch().await?;
        Ok(this)
    }

    /// Returns the URL of the server.
    pub fn url(&self) -> Url {
        url_at(self.folder.path())
    }

    /// Sets up a standby that copies this server and follows it. Commits on this server then wait
    /// for it.
    pub async fn standby(&self) -> Result<Self> {
        let folder = TempDir::with_prefix_in("dac-cluster-", "/tmp").context("a folder in /tmp")?;
        if let Some(owner) = self.owner {
            chown(folder.path(), Some(owner.user), Some(owner.group)).context("the standby's folder")?;
        }
        let data = folder.path().join("data");
        let mut copy = self.command("pg_basebackup");
        copy.arg("-D").arg(&data).arg("-h").arg(self.folder.path());
        copy.args(["-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        let output = tokio::task::spawn_blocking(move || copy.output()).await.context("pg_basebackup")??;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("pg_basebackup: {said}")));
        }
        let (programs, owner) = (self.programs.clone(), self.owner);
        let mut standby = Self { programs, folder, data, owner, server: None, file_bytes_max: None };
        standby.launch().await?;
        self.run("ALTER SYSTEM SET synchronous_standby_names = '*'").await?;
        self.run("SELECT pg_reload_conf()").await?;
        let follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        wait::until("the standby to follow synchronously", START_LIMIT, async || {
            let mut connection = sqlx::AnyConnection::connect(self.url().as_str()).await.ok()?;
            let count: i64 = sqlx::query_scalar(follows).fetch_one(&mut connection).await.ok()?;
            (count > 0).then_some(())
        })
        .await?;
        Ok(standby)
    }

    /// Stops the server as an operator does for a failover: all commits have reached the standby.
    pub async fn stop(&mut self) -> Result<()> {
        let mut server = self.server.take().context("a running server")?;
        server.signal(Signal::INT)?;
        wait::until("PostgreSQL to stop", START_LIMIT, async || server.exited()).await?;
        Ok(())
    }

    /// Promotes a standby to the primary, and waits until it accepts writes.
    pub async fn promote(&self) -> Result<()> {
        self.run("SELECT pg_promote(true, 60)").await
    }

    /// Restarts a former primary, which was stopped, as a standby of the one that was promoted.
    pub async fn follow(&mut self, primary: &Self) -> Result<()> {
        let settings =
            format!("primary_conninfo = 'host={} user=postgres'\n", primary.folder.path().display());
        let configuration = self.data.join("postgresql.auto.conf");
        let before = fs::read_to_string(&configuration).context("the settings")?;
        let kept: String = before
            .lines()
            .filter(|line| !line.starts_with("synchronous_standby_names"))
            .flat_map(|line| [line, "\n"])
            .collect();
        fs::write(&configuration, kept + &settings).context("the settings")?;
        let signal = self.data.join("standby.signal");
        fs::write(&signal, "").context("the standby's mark")?;
        if let Some(owner) = self.owner {
            chown(&signal, Some(owner.user), Some(owner.group)).context("the standby's mark")?;
        }
        self.launch().await
    }

    async fn run(&self, statement: &'static str) -> Result<()> {
        let mut connection = sqlx::AnyConnection::connect(self.url().as_str()).await.context(statement)?;
        sqlx::raw_sql(statement).execute(&mut connection).await.context(statement)?;
        connection.close().await.context(statement)?;
        Ok(())
    }

    /// Limits the size of the server's files from the next start on.
    pub fn limit_files(&mut self, bytes: Option<u64>) {
        self.file_bytes_max = bytes;
    }

    /// Returns whether the postmaster is running.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| server.exited().is_none())
    }

    /// Starts the server again and waits until it accepts connections.
    pub async fn launch(&mut self) -> Result<()> {
        sqlx::any::install_default_drivers();
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        loop {
            let mut command = self.command("postgres");
            let socket = format!("unix_socket_directories={}", self.folder.path().display());
            command.arg("-D").arg(&self.data);
            for setting in ["listen_addresses=", &socket, "max_connections=200", "shared_buffers=32MB"] {
                command.args(["-c", setting]);
            }
            let log = self.folder.path().join("server.log");
            let mut server = Process::spawn("postgres", command, &log)?;
            if answers(&mut server, &self.url()).await? {
                self.server = Some(server);
                return Ok(());
            }
            // Backends of a killed postmaster still use the shared memory.
            if tokio::time::Instant::now() >= deadline {
                return Err(Failure::new(format!("PostgreSQL does not start\n{}", server.log_end())));
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    /// Kills the postmaster with SIGKILL. Its backends notice and end, except those that wait for a
    /// lock of one that has ended: these are killed after a moment, as PostgreSQL's own hint tells
    /// operators to do.
    pub async fn kill(&mut self) -> Result<()> {
        let orphans = self.backends()?;
        self.server = None;
        let deadline = tokio::time::Instant::now() + ORPHANS_LIMIT;
        for orphan in orphans {
            while self.is_ours(orphan) {
                if tokio::time::Instant::now() >= deadline {
                    // The process may end by itself at this moment.
                    let _ = kill_process(orphan, Signal::KILL);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Returns the postmaster's children.
    fn backends(&self) -> Result<Vec<Pid>> {
        let postmaster = self.server.as_ref().context("a running server")?.id();
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))
            .context("the postmaster's children")?;
        Ok(children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect())
    }

    /// Returns whether a process works on this server's data.
    fn is_ours(&self, process: Pid) -> bool {
        let folder = fs::read_link(format!("/proc/{}/cwd", process.as_raw_nonzero()));
        folder.is_ok_and(|folder| folder == self.data)
    }

    /// Stops the server in immediate mode: all processes end at once without a checkpoint.
    pub async fn stop_immediately(&mut self) -> Result<()> {
        let mut server = self.server.take().context("a running server")?;
        server.signal(Signal::QUIT)?;
        wait::until("PostgreSQL to stop", START_LIMIT, async || server.exited()).await?;
        Ok(())
    }

    /// Kills one of the server's processes with SIGKILL, chosen at random: the server then ends all
    /// sessions and recovers. Returns false if there was no process.
    pub fn kill_backend(&self, dice: &mut impl Rng) -> Result<bool> {
        let backends = self.backends()?;
        if backends.is_empty() {
            return Ok(false);
        }
        // The process may have ended by itself.
        Ok(kill_process(backends[dice.random_range(0..backends.len())], Signal::KILL).is_ok())
    }

    /// Waits until the server accepts connections after the death of a backend. If the startup
    /// process was killed during a recovery, the whole server ends; it is then started again, as a
    /// service manager would.
    pub async fn recovered(&mut self) -> Result<()> {
        let url = self.url();
        if answers(self.server.as_mut().context("a running server")?, &url).await? {
            return Ok(());
        }
        self.server = None;
        self.launch().await
    }

    /// Returns the server's log, for failures.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = disk::limited(&self.programs.join(program), self.file_bytes_max);
        command.current_dir(self.folder.path());
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        command
    }
}

/// An address of a database that leads to one server, and after a failover to another one.
pub struct Address {
    folder: TempDir,
}

impl Address {
    /// Makes an address that leads to this server.
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let this =
            Self { folder: TempDir::with_prefix_in("dac-address-", "/tmp").context("a folder in /tmp")? };
        this.lead_to(cluster)?;
        Ok(this)
    }

    /// Sends new connections to this server. Open connections stay where they are.
    pub fn lead_to(&self, cluster: &Cluster) -> Result<()> {
        let next = self.folder.path().join("next");
        std::os::unix::fs::symlink(cluster.folder.path(), &next).context("a link to the server's folder")?;
        fs::rename(&next, self.path()).context("a link to the server's folder")
    }

    /// Returns the URL for programs, with the address of the current server.
    pub fn url(&self) -> Url {
        url_at(&self.path())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("current")
    }
}

/// Returns the URL of a server with its socket in this folder.
fn url_at(folder: &Path) -> Url {
    let url = format!("postgres://postgres@localhost/postgres?host={}", folder.display());
    url.parse().expect("a path without special characters")
}

/// Waits until the server accepts connections; returns false if it ends before.
async fn answers(server: &mut Process, url: &Url) -> Result<bool> {
    let answers = wait::until("PostgreSQL to take connections or to end", START_LIMIT, async || {
        if server.exited().is_some() {
            return Some(false);
        }
        let connection = sqlx::AnyConnection::connect(url.as_str()).await.ok()?;
        connection.close().await.ok().map(|()| true)
    });
    let answers = answers.await;
    answers.map_err(|failure| Failure::new(format!("{failure}\n{}", server.log_end())))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // The server ends all its processes; after SIGKILL they would outlive it for a moment.
            let _ = server.signal(Signal::QUIT);
            let ended = std::time::Instant::now() + Duration::from_secs(10);
            while server.exited().is_none() && std::time::Instant::now() < ended {
                #[expect(clippy::disallowed_methods, reason = "`drop` cannot await")]
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Returns the folder with initdb and postgres: from PATH, or else the newest version of Debian's.
fn programs() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    debian.sort_by_key(|folder| version(folder));
    folders.extend(debian.into_iter().rev());
    let found = folders.into_iter().find(|folder| is_program(&folder.join("initdb")));
    let folder =
        found.context("initdb, in PATH or in /usr/lib/postgresql: tools/with-postgres installs it")?;
    // PATH may contain links to the real folder.
    let initdb = fs::canonicalize(folder.join("initdb")).context("initdb")?;
    Ok(initdb.parent().context("its folder")?.to_owned())
}

fn version(folder: &Path) -> u32 {
    let name = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

fn is_program(path: &Path) -> bool {
    path.is_file()
}

fn owner() -> Result<Option<Owner>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Owner { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    };
    Ok(Some(
        find("postgres").or_else(|| find("nobody")).context("a user for PostgreSQL: postgres or nobody")?,
    ))
}
