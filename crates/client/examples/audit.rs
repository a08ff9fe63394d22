//! Audits the committee: it checks that every member still serves what it signed for.
//!
//! ```sh
//! cargo run -p dac-client --example audit -- deployment.json
//! ```
//!
//! It looks at all batches that the certificate log recorded and that members still owe. A chain
//! with many blocks needs a search in steps, and many batches a sample: `dac audit` does both.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::{CertificateLogReader, Endpoints, RegistryReader as _, RpcRegistryReader};
use dac_client::files::Deployment;
use dac_client::{
    AuditOptions, AuditPlan, AuditTarget, AuditVerdict, Auditor, CheckResult, Dialer, Directory,
    EndpointPolicy, Hint, is_owed,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [deployment] = &arguments[..] else { return Err("audit DEPLOYMENT".into()) };
    let deployment = Deployment::read(Path::new(deployment))?;
    let rpc_url = deployment.rpc_url.as_deref().ok_or("the deployment file names no L1 endpoint")?;
    let l1 = Endpoints::discover(&[rpc_url], Duration::from_secs(20)).await?;
    let view = RpcRegistryReader::new(l1.clone(), deployment.registry).read(0).await?;

    // Members owe what L1 recorded. No member is accused of lacking another batch.
    let log = CertificateLogReader::new(l1, deployment.certificate_log);
    let head = log.head().await?.number;
    let mut plan = AuditPlan { epoch: view.current_epoch, targets: Vec::new() };
    for event in log.recorded_events(deployment.deployed_at_block, head).await? {
        if is_owed(event.expires_at) {
            let recorded_at = log.recorded_at(event.digest).await?;
            let hint = Hint { epoch: Some(event.epoch), recorded_at, ..Hint::default() };
            let owed_until = Some(event.expires_at);
            plan.targets.push(AuditTarget { digest: event.digest, hint, owed_until });
        }
    }

    // Every seat is asked for random chunks with their Merkle proofs, for the record, and sometimes
    // for its whole shard. The verdict follows from hashes alone.
    let dialer = Dialer::new(EndpointPolicy::for_rpc(false, rpc_url));
    let auditor = Auditor::new(Arc::new(Directory::from_view(&view)?), dialer, AuditOptions::default());
    let report = auditor
        .audit(&plan, |row| match &row.result {
            CheckResult::Ok { proved } => eprintln!("seat {}: {:?}, {proved} proved", row.seat, row.check),
            other => eprintln!("seat {} {}: {other:?}", row.seat, row.operator),
        })
        .await;

    // A verdict claims no more than was checked: if too few members answered, it is neither good
    // nor bad.
    let verdict = report.findings().verdict(false);
    println!("{} batches: {}", plan.targets.len(), verdict.name());
    if verdict == AuditVerdict::Passed { Ok(()) } else { Err("see above".into()) }
}
