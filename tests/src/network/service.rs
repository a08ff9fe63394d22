//! A running program of the system, its gates, and all that it needs to start again.

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

/// How often a service is started whose database is not there yet.
const START_ATTEMPTS_MAX: u32 = 20;
/// Between two starts.
const START_PAUSE: Duration = Duration::from_millis(250);

/// A process, its gates, and all it needs to start again.
pub struct Service {
    name: String,
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    process: Option<Process>,
    gates: Vec<(&'static str, Gate)>,
    /// Shared by those who share it.
    database: Arc<TestDatabase>,
    environment: Vec<(&'static str, String)>,
    file_bytes_max: Option<u64>,
}

impl Service {
    /// Names all that a service needs, and starts nothing. `folder` is for its log and for the file
    /// that says where it listens.
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

    /// Starts it, waits until it says where it listens, and opens its gates.
    pub async fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.await_ready().await
    }

    /// Its environment at the next start, beside this process's own.
    pub fn set_environment(&mut self, environment: &[(&'static str, String)]) {
        self.environment = environment.to_vec();
    }

    /// From the next start on its files cannot grow beyond so many bytes.
    pub fn limit_files(&mut self, bytes: Option<u64>) {
        self.file_bytes_max = bytes;
    }

    /// Starts it, and starts it again where it ended at once, as a supervisor of services does.
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

    /// Starts it, and waits for nothing.
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

    /// Waits until what was launched says where it listens, and opens its gates.
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

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its configuration's file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its database.
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Whether its process was started and has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.exited().is_none())
    }

    /// All its gates.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().map(|(_, gate)| gate)
    }

    /// kill −9. Its gates cut what is connected and refuse what comes.
    pub fn kill(&mut self) {
        for (_, gate) in &self.gates {
            gate.set(Mode::Shut);
        }
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM; a clean end is demanded.
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

    /// The file of its database, where it is one.
    pub fn database_file(&self) -> Option<PathBuf> {
        self.database.file()
    }

    /// Its disk is gone, and all that was on it.
    pub fn lose_database(&self) -> Result<()> {
        let file = self.database_file().context("a database that is a file")?;
        let folder = file.parent().context("its folder")?;
        for entry in fs::read_dir(folder).context(folder.display())? {
            let path = entry.context(folder.display())?.path();
            fs::remove_file(&path).context(path.display())?;
        }
        Ok(())
    }

    /// The running process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context(&self.name)
    }

    /// The running process's id.
    pub fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context(&self.name)?.id())
    }

    /// What the running process wrote so far.
    pub fn log(&self) -> Result<String> {
        Ok(self.process.as_ref().context(&self.name)?.log())
    }

    /// The end of its log.
    pub fn log_end(&self) -> String {
        self.process.as_ref().map(Process::log_end).unwrap_or_default()
    }

    /// The gate of one of its listeners.
    pub fn gate(&self, listener: &str) -> &Gate {
        let gate = self.gates.iter().find(|(name, _)| *name == listener);
        &gate.unwrap_or_else(|| panic!("{} has no listener {listener}", self.name)).1
    }

    /// A channel to one of its listeners, through the gate.
    pub fn channel(&self, listener: &str) -> Result<Channel> {
        rpc::channel(&self.gate(listener).url())
    }
}
