//! A process of the system with its gates and all that it needs to be started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dac_database::testing::TestDatabase;
use tonic::transport::Channel;

use crate::configuration;
use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::gate::{Gate, Mode};
use crate::process::Process;
use crate::rpc;
use crate::wait;

/// How often a service is started if its database is not reachable yet.
const START_ATTEMPTS_MAX: u32 = 20;
/// The pause between two starts.
const START_PAUSE: Duration = Duration::from_millis(250);

/// A process with its gates and all that it needs to be started again.
pub struct Service {
    name: String,
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    process: Option<Process>,
    gates: Vec<(&'static str, Gate)>,
    /// The database. All processes of one aggregator share it.
    database: Arc<TestDatabase>,
    environment: Vec<(&'static str, String)>,
    file_bytes_max: Option<u64>,
}

impl Service {
    /// Prepares a service without starting it. `folder` is for its log and for the file with its
    /// addresses.
    pub(super) fn new(
        name: String,
        program: PathBuf,
        folder: PathBuf,
        config: PathBuf,
        gates: Vec<(&'static str, Gate)>,
        database: Arc<TestDatabase>,
    ) -> Self {
        let (process, environment, file_bytes_max) = (None, Vec::new(), None);
        Self { name, program, folder, config, process, gates, database, environment, file_bytes_max }
    }

    /// Starts the process, waits until it has written its addresses, and opens its gates.
    pub async fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.await_ready().await
    }

    /// Sets environment variables for the next start, in addition to this process's own.
    pub fn set_environment(&mut self, environment: &[(&'static str, String)]) {
        self.environment = environment.to_vec();
    }

    /// Limits the size of the process's files from the next start on.
    pub fn limit_files(&mut self, bytes: Option<u64>) {
        self.file_bytes_max = bytes;
    }

    /// Starts the process again if it ends at once, as a service manager does.
    pub async fn start_until_it_stays(&mut self) -> Result<()> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.start().await {
                Ok(()) => return Ok(()),
                Err(_) if attempts < START_ATTEMPTS_MAX && !self.is_running() => {
                    tokio::time::sleep(START_PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Starts the process and waits for nothing.
    pub fn launch(&mut self) -> Result<()> {
        let ready = self.ready_file();
        match fs::remove_file(&ready) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(ready.display()),
        }
        let mut command = disk::limited(&self.program, self.file_bytes_max);
        command.args(configuration::arguments(&self.config, &ready)).envs(self.environment.iter().cloned());
        self.process = Some(Process::spawn(&self.name, command, &self.folder.join("log"))?);
        Ok(())
    }

    /// Waits until the process has written its addresses, and opens its gates.
    pub async fn await_ready(&mut self) -> Result<()> {
        let ready = self.ready_file();
        let process = self.process.as_mut().context(&self.name)?;
        let listening = configuration::wait_ready(process, &ready).await?;
        for (listener, gate) in &self.gates {
            let address = listening.get(*listener).context(listener)?;
            gate.set(Mode::Open(*address));
        }
        Ok(())
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join("ready.json")
    }

    /// Returns the name that messages use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of the configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Returns the database.
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Returns whether the process was started and has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.exited().is_none())
    }

    /// Returns all gates.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().map(|(_, gate)| gate)
    }

    /// Kills the process with SIGKILL. Its gates close open connections and refuse new ones.
    pub fn kill(&mut self) {
        for (_, gate) in &self.gates {
            gate.set(Mode::Shut);
        }
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Sends SIGTERM, and fails unless the process ends cleanly.
    pub async fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context(&self.name)?;
        let status = process.terminate(wait::LIMIT).await?;
        for (_, gate) in &self.gates {
            gate.set(Mode::Shut);
        }
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{} ended with {status}\n{}", self.name, process.log_end())))
    }

    /// Returns the path of the database if it is a file.
    pub fn database_file(&self) -> Option<PathBuf> {
        self.database.file()
    }

    /// Deletes the database, as if its disk were lost.
    pub fn lose_database(&self) -> Result<()> {
        let file = self.database_file().context("a database that is a file")?;
        let folder = file.parent().context("its folder")?;
        for entry in fs::read_dir(folder).context(folder.display())? {
            let path = entry.context(folder.display())?.path();
            fs::remove_file(&path).context(path.display())?;
        }
        Ok(())
    }

    /// Returns the running process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context(&self.name)
    }

    /// Returns the id of the running process.
    pub fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context(&self.name)?.id())
    }

    /// Returns what the running process has written so far.
    pub fn log(&self) -> Result<String> {
        Ok(self.process.as_ref().context(&self.name)?.log())
    }

    /// Returns the end of the log.
    pub fn log_end(&self) -> String {
        self.process.as_ref().map(Process::log_end).unwrap_or_default()
    }

    /// Returns the gate of one of the listeners.
    pub fn gate(&self, listener: &str) -> &Gate {
        let gate = self.gates.iter().find(|(name, _)| *name == listener);
        &gate.unwrap_or_else(|| panic!("{} has no listener {listener}", self.name)).1
    }

    /// Makes a channel to one of the listeners, through its gate.
    pub fn channel(&self, listener: &str) -> Result<Channel> {
        rpc::channel(&self.gate(listener).url())
    }
}
