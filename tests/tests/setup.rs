//! The set-up script of the container demo, with the programs as plain processes: it sets a
//! committee up that works.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dac_chain::testing::Anvil;
use dac_tests::process::{program, source_root};
use dac_tests::{Context, Result};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{ChildStderr, Command};

/// What the script says while L1 is not there.
const WAITING: &str = "waiting for L1";

/// An L1 endpoint that closes each connection without an answer until a process waits for it.
#[derive(Clone)]
struct LateL1 {
    url: String,
    is_up: Arc<AtomicBool>,
}

impl LateL1 {
    /// Passes everything on to this port, once it is up.
    async fn before(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let is_up = Arc::new(AtomicBool::new(false));
        let passes = Arc::clone(&is_up);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if passes.load(Ordering::Acquire) {
                    tokio::spawn(async move {
                        let mut chain = TcpStream::connect(("127.0.0.1", port)).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut chain).await
                    });
                }
            }
        });
        Ok(Self { url, is_up })
    }

    /// Reads all that the script says, and comes up once it says that it waits.
    async fn comes_up_when_waited_for(self, stderr: ChildStderr) -> Result<String> {
        let (mut lines, mut text) = (BufReader::new(stderr).lines(), String::new());
        while let Some(line) = lines.next_line().await? {
            if line.contains(WAITING) {
                self.is_up.store(true, Ordering::Release);
            }
            text.push_str(&line);
            text.push('\n');
        }
        Ok(text)
    }
}

fn command(script: &str, folder: &Path) -> Result<Command> {
    let programs = program("dac")?.parent().context("the programs' folder")?.to_owned();
    let path = std::env::join_paths(
        std::iter::once(programs).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let mut command = Command::new(source_root().join("deploy/compose").join(script));
    command.env("PATH", path).env("FOLDER", folder).kill_on_drop(true);
    Ok(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_sets_a_committee_up_once() -> Result<()> {
    let (folder, anvil) = (TempDir::new()?, Anvil::start().await);
    let l1 = LateL1::before(anvil.port()).await?;
    let run = async || {
        let mut command = command("setup.sh", folder.path())?;
        command.env("RPC_URL", &l1.url).env("MEMBERS", "4").env("K", "2").env("Q", "3");
        let mut script = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("setup.sh")?;
        let stderr = script.stderr.take().context("its standard error")?;
        let told = tokio::spawn(l1.clone().comes_up_when_waited_for(stderr));
        let output = script.wait_with_output().await.context("setup.sh")?;
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &told.await.context("its errors")??;
        assert!(output.status.success(), "{text}");
        Ok::<_, dac_tests::Failure>(text)
    };
    assert!(run().await?.contains(WAITING), "it does not wait for L1");
    assert!(run().await?.contains("set up already"));

    for (config, executable) in [
        ("member-0/node.toml", "dac-node"),
        ("member-3/node.toml", "dac-node"),
        ("aggregator/aggregator.toml", "dac-aggregator"),
    ] {
        let mut check = Command::new(program(executable)?);
        let check = check.arg("--config").arg(folder.path().join(config)).arg("--check-config");
        let output = check.output().await?;
        assert!(output.status.success(), "{config}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut committee = command("as-rollup.sh", folder.path())?;
    let output = committee.args(["dac", "--json", "committee"]).output().await.context("as-rollup.sh")?;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).context("dac committee")?;
    let text = document.to_string();
    assert!(text.contains("member-3:7001"), "{text}");
    Ok(())
}
