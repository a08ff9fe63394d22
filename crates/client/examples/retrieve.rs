//! Retrieves the payload of a batch from any k members. It needs no aggregator and trusts no single
//! member.
//!
//! ```sh
//! cargo run -p dac-client --example retrieve -- deployment.json $DIGEST payload.bin
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::{CertificateLogReader, Endpoints, RegistryReader as _, RpcRegistryReader};
use dac_client::files::{Deployment, write_atomically};
use dac_client::{
    Dialer, Directory, EndpointPolicy, Hint, Progress, RetrieveOptions, Retriever, ShardOutcome,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [deployment, digest, out] = &arguments[..] else {
        return Err("retrieve DEPLOYMENT DIGEST OUT".into());
    };
    let deployment = Deployment::read(Path::new(deployment))?;
    let digest = digest.parse()?;

    // L1 names the members with their keys and URLs, and says whether it recorded the batch.
    let rpc_url = deployment.rpc_url.as_deref().ok_or("the deployment file names no L1 endpoint")?;
    let l1 = Endpoints::discover(&[rpc_url], Duration::from_secs(20)).await?;
    let view = RpcRegistryReader::new(l1.clone(), deployment.registry).read(0).await?;
    let log = CertificateLogReader::new(l1, deployment.certificate_log);
    let hint = Hint { recorded_at: log.recorded_at(digest).await?, ..Hint::default() };

    // Members chose their URLs themselves, so private addresses are refused unless L1 is local too.
    let dialer = Dialer::new(EndpointPolicy::for_rpc(false, rpc_url));
    let directory = Arc::new(Directory::from_view(&view)?);
    let retriever = Retriever::new(directory, dialer, RetrieveOptions::default());
    let retrieved = retriever
        .retrieve(digest, &hint, |progress| match progress {
            Progress::Record { shards, .. } => eprintln!("{shards} shards are needed"),
            Progress::Shards { checked, .. } => eprintln!("{checked} shards checked"),
            Progress::Decoding => eprintln!("decoding"),
        })
        .await?;

    // Each member that was asked is in the report: what it served, or what was wrong with it.
    for member in &retrieved.report.members {
        let outcome = match &member.outcome {
            ShardOutcome::Served { bytes } => format!("served {bytes} bytes"),
            ShardOutcome::Failed(fault) => format!("failed: {fault}"),
            ShardOutcome::Overtaken => "was slower than others".to_owned(),
        };
        eprintln!("seat {} {outcome}", member.seat);
    }
    write_atomically(Path::new(out), &retrieved.payload, false)?;
    println!("{} bytes", retrieved.payload.len());
    Ok(())
}
