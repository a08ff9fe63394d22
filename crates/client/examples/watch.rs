//! A rollup waits until its batch is recorded on L1, and keeps the certificate.
//!
//! ```sh
//! cargo run -p dac-client --example watch -- deployment.json http://127.0.0.1:7000 \
//!     $SUBMISSION certificate.json
//! ```
//!
//! $SUBMISSION is the digest that the example `submit` printed. The last line of the output is the
//! digest of the batch, by which every client finds it.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use dac_client::files::{CertificateFile, Deployment, write_atomically};
use dac_client::{AggregatorClient, BatchSelector, BatchState, Dialer, EndpointPolicy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [deployment, aggregator, submission, out] = &arguments[..] else {
        return Err("watch DEPLOYMENT URL SUBMISSION OUT".into());
    };
    let domain = Deployment::read(Path::new(deployment))?.domain();
    let dialer = Dialer::new(EndpointPolicy::AllowPrivate);
    let aggregator = AggregatorClient::new(aggregator.parse()?, dialer);
    let batch = BatchSelector::Submission(submission.parse()?);

    // The call survives a restart of the aggregator. It ends early if the batch fails or expires.
    let limit = Duration::from_secs(10 * 60);
    let status = aggregator
        .wait(batch, BatchState::Posted, limit, |status| {
            eprintln!("{}", status.state.name());
            for obstacle in status.obstacles() {
                eprintln!("  {obstacle}");
            }
        })
        .await?;
    if let Some(l1) = &status.l1 {
        eprintln!("recorded on L1: {l1:?}");
    }

    // The aggregator's answer is its own word; the certificate is the word of a quorum once its
    // signature is verified. The example `verify_offline` does that, and this program does not rely
    // on it before.
    let certificate = aggregator.certificate(batch).await?;
    let file = CertificateFile { domain, certificate };
    write_atomically(Path::new(out), file.to_json().as_bytes(), false)?;
    println!("{}", file.digest());
    Ok(())
}
