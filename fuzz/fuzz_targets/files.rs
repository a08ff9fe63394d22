//! Parses hostile files: a file that parses is written again as a file that parses to the same
//! value.
#![no_main]

use dac_client::EndpointUrl;
use dac_client::files::{CertificateFile, CommitteeFile, Deployment, ProofFile, SubmissionFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = CertificateFile::from_json(bytes) {
        let again = CertificateFile::from_json(file.to_json().as_bytes()).expect("our own file");
        assert_eq!(again.digest(), file.digest());
    }
    if let Ok(file) = CommitteeFile::from_json(bytes) {
        CommitteeFile::from_json(file.to_json().as_bytes()).expect("our own file");
    }
    if let Ok(file) = SubmissionFile::from_json(bytes) {
        SubmissionFile::from_json(file.to_json().as_bytes()).expect("our own file");
    }
    if let Ok(file) = Deployment::from_json(bytes) {
        Deployment::from_json(file.to_json().as_bytes()).expect("our own file");
    }
    if let Ok(file) = ProofFile::from_json(bytes) {
        assert_eq!(ProofFile::from_json(file.to_json().as_bytes()).expect("our own file"), file);
    }
    if let Ok(url) = std::str::from_utf8(bytes).unwrap_or_default().parse::<EndpointUrl>() {
        let _ = url.literal_address();
    }
});
