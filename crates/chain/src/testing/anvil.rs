//! Starts, steers and stops an anvil process.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use alloy::primitives::{Address, U256};
use dac_types::EcdsaKey;
use serde_json::{Value, json};

use crate::admin::{Account, SendLimits};
use crate::rpc::{BlockRef, Endpoints};

/// How long anvil may take to start on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// The deadline of one call to anvil.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// When anvil makes a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// It makes a block as soon as a transaction arrives.
    Automine,
    /// It makes a block every so many seconds.
    Interval(u64),
    /// It makes a block only on request.
    Manual,
}

/// The options of a chain to start.
#[derive(Clone, Debug)]
pub struct AnvilOptions {
    /// The name of the hardfork: `prague` or `osaka`.
    pub hardfork: String,
    /// When the chain makes a block.
    pub mining: Mining,
    /// The chain id.
    pub chain_id: u64,
    /// The port; 0 for a free one.
    pub port: u16,
}

impl Default for AnvilOptions {
    fn default() -> Self {
        Self { hardfork: "prague".into(), mining: Mining::Automine, chain_id: 31_337, port: 0 }
    }
}

/// A local chain, stopped when this is dropped.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    port: u16,
    options: AnvilOptions,
    keys: Vec<EcdsaKey>,
    endpoints: Endpoints,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Anvil {
    /// Starts a chain with the Prague rules, a block for every transaction, and a free port.
    pub async fn start() -> Self {
        Self::with(AnvilOptions::default()).await
    }

    /// Starts a chain with these options.
    pub async fn with(options: AnvilOptions) -> Self {
        let (child, port, keys) = {
            let options = options.clone();
            tokio::task::spawn_blocking(move || spawn(&options)).await.expect("starting anvil does not panic")
        };
        let url = format!("http://127.0.0.1:{port}");
        let endpoints = Endpoints::new(&[url], options.chain_id, CALL_DEADLINE).expect("a good URL");
        Self { child, port, options, keys, endpoints }
    }

    /// The URL at which it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port on which it answers.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The chain id.
    pub fn chain_id(&self) -> u64 {
        self.options.chain_id
    }

    /// The chain's endpoint for everything in this crate.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }

    /// One of ten keys whose accounts have plenty of ether.
    pub fn key(&self, index: usize) -> EcdsaKey {
        self.keys[index].clone()
    }

    /// An account that sends transactions and asks for receipts often.
    pub fn account(&self, signer: EcdsaKey) -> Account {
        let limits = SendLimits { poll_interval: Duration::from_millis(20), ..SendLimits::default() };
        Account::new(self.endpoints(), Arc::new(signer)).with_limits(limits)
    }

    /// Gives an account a thousand ether.
    pub async fn fund(&self, account: Address) {
        let wei = U256::from(1_000) * U256::from(10).pow(U256::from(18));
        self.rpc("anvil_setBalance", json!([account, wei])).await;
    }

    /// Makes this many blocks.
    pub async fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    /// Makes the next block with a time that is this many seconds later.
    pub async fn advance(&self, seconds: u64) {
        self.rpc("evm_increaseTime", json!([seconds])).await;
        self.mine(1).await;
    }

    /// Switches a block for every transaction on or off.
    pub async fn set_automine(&self, automine: bool) {
        self.rpc("evm_setAutomine", json!([automine])).await;
    }

    /// Sets the base fee of the next block, in wei.
    pub async fn set_next_base_fee(&self, wei: u64) {
        self.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{wei:#x}")])).await;
    }

    /// Takes a snapshot of the chain.
    pub async fn snapshot(&self) -> Value {
        self.rpc("evm_snapshot", json!([])).await
    }

    /// Goes back to a snapshot, as if nothing had happened after it.
    pub async fn revert(&self, snapshot: &Value) {
        assert_eq!(self.rpc("evm_revert", json!([snapshot])).await, json!(true), "the snapshot is known");
    }

    /// Replaces the last blocks by as many empty ones. Their transactions are gone, not pending.
    pub async fn reorganise(&self, depth: u64) {
        self.rpc("anvil_reorg", json!([depth, []])).await;
    }

    /// Drops all pending transactions.
    pub async fn drop_pending(&self) {
        self.rpc("anvil_dropAllTransactions", json!([])).await;
    }

    /// The newest block.
    pub async fn head(&self) -> BlockRef {
        self.endpoints
            .first(|endpoint| async move { Ok(endpoint.head().await?.block) })
            .await
            .expect("anvil answers")
    }

    /// Calls any JSON-RPC method.
    pub async fn rpc(&self, method: &'static str, params: Value) -> Value {
        self.endpoints
            .first(|endpoint| {
                let params = params.clone();
                async move { endpoint.raw(method, params).await }
            })
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Kills the process, so that L1 is down from now on.
    pub fn stop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(options: &AnvilOptions) -> (Child, u16, Vec<EcdsaKey>) {
    let binary = binary();
    let mut command = Command::new(&binary);
    command
        .args(["--host", "127.0.0.1", "--port", &options.port.to_string()])
        .args(["--hardfork", &options.hardfork, "--chain-id", &options.chain_id.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    match options.mining {
        Mining::Automine => {}
        Mining::Interval(seconds) => {
            command.args(["--block-time", &seconds.to_string()]);
        }
        Mining::Manual => {
            command.arg("--no-mining");
        }
    }
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()));
    let stdout = child.stdout.take().expect("stdout is piped");
    match read_banner(stdout) {
        Ok((port, keys)) => (child, port, keys),
        Err(reason) => {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{}: {reason}", binary.display());
        }
    }
}

/// Reads the keys and the port that anvil prints, then keeps reading, so that the pipe does not
/// fill up.
fn read_banner(stdout: ChildStdout) -> Result<(u16, Vec<EcdsaKey>), String> {
    let (announce, announced) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut keys = Vec::new();
        let mut lines = BufReader::new(stdout).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            let last = line.split_whitespace().next_back().unwrap_or_default();
            if last.len() == 66
                && let Ok(key) = last.parse::<EcdsaKey>()
            {
                keys.push(key);
            } else if let Some(address) = line.strip_prefix("Listening on ") {
                let port = address.trim().rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
                let _ = announce.send(port.map(|port| (port, std::mem::take(&mut keys))));
            }
        }
        for _ in lines {}
    });
    match announced.recv_timeout(START_DEADLINE) {
        Ok(Some((port, keys))) if !keys.is_empty() => Ok((port, keys)),
        Ok(_) => Err("its announcement is not understood".into()),
        Err(error) => Err(format!("it did not announce a port: {error}")),
    }
}

/// Finds the executable itself, not npm's wrapper, which would survive us when killed.
fn binary() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let platform = match env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let path = workspace
        .join("contracts/node_modules/@foundry-rs")
        .join(format!("anvil-{platform}-{architecture}"))
        .join("bin/anvil");
    assert!(path.exists(), "{} is missing: run `npm ci` in contracts/", path.display());
    path
}
