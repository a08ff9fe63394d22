//! Verifies a certificate without a network.
//!
//! ```sh
//! dac committee --deployment deployment.json --out committee.json
//! cargo run -p dac-client --example verify_offline -- certificate.json committee.json payload.bin
//! ```
//!
//! The committee file is trusted for the keys of the members. It comes from L1 once an epoch, or
//! from a source that you trust. The payload proves that the certificate is about these bytes.

use std::error::Error;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dac_client::check_payload_of_header;
use dac_client::files::{CertificateFile, CommitteeFile};
use dac_client::verify::verify_offline;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [certificate, committee, payload] = &arguments[..] else {
        return Err("verify_offline CERTIFICATE COMMITTEE PAYLOAD".into());
    };
    let file = CertificateFile::read(Path::new(certificate))?;
    let committee = CommitteeFile::read(Path::new(committee))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "an example for programs outside this workspace, which have no `Clock`"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();

    // An error says why the certificate is not good: another registry, another epoch, too few
    // signatures, or a sum of signatures that is wrong.
    let verified = verify_offline(&file, &committee, now)?;
    let header = &file.certificate.header;
    check_payload_of_header(header, committee.committee.quorum().geometry(), &std::fs::read(payload)?)?;

    let (signed, needed) = (verified.signers.len(), verified.quorum);
    println!("GOOD: {signed} members signed batch {}, {needed} are needed", verified.digest);
    println!("members serve it until {} (Unix seconds)", header.expires_at);
    // A certificate that is good stays good. Whether L1 still takes it is another question.
    if let Err(problem) = verified.postable {
        println!("it can no longer be recorded on L1: {problem}");
    }
    Ok(())
}
