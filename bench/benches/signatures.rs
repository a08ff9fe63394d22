//! Measures BLS signatures: signing, verifying, adding up a quorum's signatures and checking the
//! sum, and finding one false signature among those of all members.
//!
//! `cargo bench -p dac-bench --features micro --bench signatures`. It uses one thread. Excluded:
//! parsing messages, network.

use dac_bench::Timing;
use dac_bench::committee::{DOMAIN, Signers};
use dac_bench::report::{self, Figure, Kind};
use dac_bls::Signature;
use dac_types::{B256, BatchDigest, Geometry, Seat};

const RUNS: usize = 7;
/// The number of certificates that are verified together.
const TOGETHER: usize = 32;
const SEATS: [(u16, u16); 7] = [(4, 2), (7, 3), (16, 6), (32, 11), (64, 22), (128, 43), (256, 86)];

fn main() {
    let mut figures = Vec::new();
    let digest = BatchDigest(B256::repeat_byte(7));
    for (n, k) in SEATS {
        let signers = Signers::new(Geometry::new(n, k).expect("valid"));
        let Signers { secrets, keys } = &signers;
        let signatures: Vec<(Seat, Signature)> =
            Seat::all(n).zip(secrets).map(|(seat, secret)| (seat, secret.sign_digest(&digest))).collect();
        if n == 4 {
            let signing = Timing::of(RUNS * 20, || secrets[0].sign_digest(&digest));
            let key = secrets[0].public_key();
            let verifying = Timing::of(RUNS * 20, || key.verify(&digest, &signatures[0].1));
            figures.push(Figure::new("signatures/sign/one", signing.median_ms(), "ms"));
            figures.push(Figure::new("signatures/verify/one", verifying.median_ms(), "ms"));
        }
        let name = |what: &str| format!("signatures/{what}/n={n}");
        // Verifying each signature on its own is measured only for comparison; the service verifies
        // their sum.
        let one_by_one = Timing::of(RUNS, || {
            signatures
                .iter()
                .filter(|(seat, s)| keys.key(*seat).expect("a key").verify(&digest, s).is_ok())
                .count()
        });
        figures.push(Figure::new(name("verify one by one"), one_by_one.median_ms(), "ms"));
        let honest = Timing::of(RUNS, || keys.aggregate(&digest, &signatures).expect("all are honest"));
        let figure = Figure::new(name("aggregate and check"), honest.median_ms(), "ms");
        figures.push(figure.with_peer(Kind::Cost, "each signature on its own", one_by_one.median_ms()));
        let certificates = signers.certificates(TOGETHER as u64);
        let verified = |count: usize| {
            Timing::of(RUNS, || keys.verify_certificates(&certificates[..count], &DOMAIN)).median_ms()
        };
        let (alone, together) = (verified(1), verified(TOGETHER) / TOGETHER as f64);
        figures.push(Figure::new(name("verify a certificate"), alone, "ms"));
        let figure = Figure::new(name("verify a certificate, one of 32 together"), together, "ms");
        figures.push(figure.with_peer(Kind::Cost, "each certificate on its own", alone));
        let liar = usize::from(n) / 2;
        let mut lied = signatures.clone();
        lied[liar].1 = secrets[liar].sign_digest(&BatchDigest(B256::repeat_byte(8)));
        let search = Timing::of(RUNS, || keys.find_liars(&digest, &lied));
        assert_eq!(keys.find_liars(&digest, &lied), [signatures[liar].0], "what is measured is also right");
        let figure = Figure::new(name("find one liar"), search.median_ms(), "ms");
        figures.push(figure.with_peer(Kind::Cost, "each signature on its own", one_by_one.median_ms()));
    }
    for figure in &figures {
        println!("{:<40} {:>9.3} {}", figure.name, figure.value, figure.unit);
    }
    report::write("signatures", &figures).expect("the figures are written");
}
