//! A rollup submits one payload to an aggregator.
//!
//! ```sh
//! cargo run -p dac-client --example submit -- deployment.json http://127.0.0.1:7000 \
//!     $ROLLUP $DISPERSER 1 payload.bin batch-signer.json batch-signer.password submission.json
//! ```
//!
//! $ROLLUP is the address of the rollup's contract, and $DISPERSER the address of the aggregator's
//! key. The registry must have admitted the rollup with this batch signer. The last line of the
//! output is the digest of the order, which the example `watch` takes.

use std::error::Error;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dac_chain::TransactionSigner as _;
use dac_client::files::{Deployment, SubmissionFile, write_atomically};
use dac_client::{
    AggregatorClient, Dialer, EndpointPolicy, SubmissionBuilder, SubmitOptions, SubmitProgress,
};
use dac_types::Address;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [deployment, aggregator, rollup, disperser, number, payload, key, password, out] = &arguments[..]
    else {
        return Err("submit DEPLOYMENT URL ROLLUP DISPERSER NUMBER PAYLOAD KEY PASSWORD OUT".into());
    };
    let domain = Deployment::read(Path::new(deployment))?.domain();
    let payload = Bytes::from(std::fs::read(payload)?);
    let (rollup, disperser): (Address, Address) = (rollup.parse()?, disperser.parse()?);

    // The order says which payload this aggregator shall disperse, and until when members serve it.
    // The batch hash is keccak256 of the payload unless another kind of hash is chosen.
    let signer = dac_keys::load_ecdsa_keystore(Path::new(key), Path::new(password))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "an example for programs outside this workspace, which have no `Clock`"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let signed = SubmissionBuilder::new(domain, rollup, number.parse()?, disperser, now)
        .expires_at(now + 60 * 60)
        .sign(&payload, |digest| signer.sign_hash(&digest).map(|signature| signature.as_bytes()))?;

    // Keep the order before the first byte is sent. After any failure, the same order is sent again
    // and leads to the same batch; a new order would be another batch.
    let order = SubmissionFile { domain, signed };
    write_atomically(Path::new(out), order.to_json().as_bytes(), false)?;

    // You chose the URL of the aggregator yourself, so it may be a private address.
    let dialer = Dialer::new(EndpointPolicy::AllowPrivate);
    let aggregator = AggregatorClient::new(aggregator.parse()?, dialer);
    let status = aggregator
        .submit(&domain, &order.signed, &payload, SubmitOptions::default(), |progress| match progress {
            SubmitProgress::Sent(bytes) => eprintln!("{bytes} bytes sent"),
            SubmitProgress::Retrying { error, pause } => eprintln!("{error}; again in {pause:?}"),
        })
        .await?;
    // From here on the aggregator has the payload on its disk.
    eprintln!("the batch is {}", status.state.name());
    println!("{}", status.submission_digest);
    Ok(())
}
