//! The work of a service's `main`: it reads the configuration, checks it or runs the service, and
//! stops on a signal.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::ready::ReadyFile;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, ConfigArgs, ConfigError};
use crate::descriptors::Descriptors;
use crate::telemetry::LogConfig;
use crate::tls::Renewals;
use crate::{monitor, shutdown, telemetry, tls};

/// The error with which a program ends.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The arguments that every service has.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Once ready (serving, and L1 read), write the listening addresses to this file as JSON
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// The configuration of a service.
pub trait ServiceConfig: Config {
    /// Returns the `[log]` table.
    fn log(&self) -> &LogConfig;

    /// Returns the file descriptors that the service may use.
    fn descriptors(&self) -> Descriptors;

    /// Describes in a few lines what would run.
    fn explain(&self) -> String;
}

/// A service as [`run`] uses it.
pub trait Program {
    /// The name of the program, for its last line of the log.
    const NAME: &'static str;
    /// Its configuration file.
    type Config: ServiceConfig;
    /// The service while it runs.
    type Running: Run;

    /// Checks everything that can be checked without starting: keystores open, TLS fits together.
    /// TLS is loaded into `renewals`, whose own warnings are added by the caller. Returns what to
    /// print about keys.
    ///
    /// # Errors
    /// The error says which value of the configuration is wrong.
    fn check(config: &Self::Config, renewals: &mut Renewals) -> Result<String, Failure>;

    /// Starts the service. It may be dropped at any time before it returns.
    fn start(
        config: &Self::Config,
        renewals: &mut Renewals,
    ) -> impl Future<Output = Result<Self::Running, Failure>>;
}

/// A service that runs.
pub trait Run {
    /// The addresses that it listens on, as the ready file shows them.
    type Addresses: Serialize;

    /// Returns the addresses that it listens on.
    fn addresses(&self) -> Self::Addresses;

    /// Returns a future that ends when the service is ready, or with the error that it never will
    /// be.
    fn ready(&self) -> impl Future<Output = Result<(), Failure>> + 'static;

    /// Returns when a part of the service has failed, so that the process must end.
    fn failed(&mut self) -> impl Future<Output = Failure>;

    /// Stops the service.
    fn stop(self) -> impl Future<Output = ()>;
}

/// Runs a service until it fails or a signal comes, or checks its configuration if that is asked
/// for. Exit code 2 is a wrong configuration, and 1 every other failure.
pub fn run<P: Program>(args: ServiceArgs) -> ExitCode {
    telemetry::finish(P::NAME, load_and_run::<P>(args))
}

fn load_and_run<P: Program>(args: ServiceArgs) -> Result<(), Failure> {
    let ServiceArgs { config: ConfigArgs { config: path, check_config }, ready_file } = args;
    let config: P::Config = config::load(&path)?;
    config::check_files(&config, &path)?;
    if check_config {
        let text = check::<P>(&config).map_err(|problem| ConfigError::invalid(&path, problem))?;
        let descriptors = config.descriptors().check()?;
        let text = format!("{text}{}files:      {descriptors}\n", config.explain());
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    telemetry::init(config.log())?;
    tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve::<P>(config, ready_file));
    // Calls that were cut off end here.
    runtime.shutdown_background();
    result
}

fn check<P: Program>(config: &P::Config) -> Result<String, Failure> {
    let mut renewals = Renewals::default();
    let keys = P::check(config, &mut renewals)?;
    let warnings = renewals.check(SystemClock.now_unix_seconds())?;
    let warnings: String = warnings.iter().map(|warning| format!("WARNING:    {warning}\n")).collect();
    Ok(warnings + &keys)
}

async fn serve<P: Program>(config: P::Config, ready_file: Option<PathBuf>) -> Result<(), Failure> {
    let signal = shutdown::on_signal()?;
    let ready_file = ReadyFile::new(ready_file)?;
    // Installed first, so that no recorded value is lost.
    monitor::metrics();
    let descriptors = config.descriptors().check()?;
    tracing::info!(%descriptors, "file descriptors that may be used");
    let mut renewals = Renewals::default();
    let mut running = tokio::select! {
        started = P::start(&config, &mut renewals) => started?,
        // The service may still be waiting for another process to end.
        () = signal.cancelled() => return Ok(()),
    };
    tokio::spawn(renewals.run(Arc::new(SystemClock)));
    let (ready, addresses) = (running.ready(), running.addresses());
    let ready = async {
        ready.await?;
        ready_file.write(&addresses)?;
        std::future::pending::<Result<(), Failure>>().await
    };
    let result = tokio::select! {
        () = signal.cancelled() => Ok(()),
        error = running.failed() => Err(error),
        failed = ready => failed,
    };
    let removed = ready_file.remove();
    running.stop().await;
    result.and_then(|()| Ok(removed?))
}
