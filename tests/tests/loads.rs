//! Load on real processes, by the command that measures it.

use dac_tests::command::CommandLine;
use dac_tests::network::{Network, Shape};
use dac_tests::{Result, configuration, keys};
use serde_json::Value;

fn number(document: &Value, name: &str) -> f64 {
    document[name].as_f64().unwrap_or_else(|| panic!("{name} in {document}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_certified_and_measured() -> Result<()> {
    dac_tests::install_tls_provider();
    let network = Network::start(Shape::SMALL).await?;
    let poster = keys::ethereum(&network.folder().join("poster"), &network.rollup.poster)?;
    let deployment = network.committee.deployment;
    let dac = CommandLine::new("dac", network.folder())?
        .with("DAC_RPC_URL", network.l1.url())
        .with("DAC_REGISTRY", deployment.registry.to_string())
        .with("DAC_AGGREGATOR", network.aggregator.gate(configuration::API).url())
        .with("DAC_DISPERSER", network.rollup.disperser.to_string())
        .with("DAC_ROLLUP", network.rollup.address.to_string())
        .with("DAC_POSTER", poster.keystore)
        .with("DAC_POSTER_PASSWORD_FILE", poster.password);
    let load = ["load", "--rate", "5/s", "--size", "1KiB..64KiB", "--duration", "3s", "--warm-up", "1s"];
    let document = dac.expect(load).await?;
    assert_eq!((number(&document, "due"), number(&document, "certified")), (10.0, 10.0), "{document}");
    assert_eq!(number(&document["certificate_ms"], "count"), 10.0, "{document}");
    assert!(
        number(&document["certificate_ms"], "max") >= number(&document["receipt_ms"], "p50"),
        "{document}"
    );
    assert!(number(&document, "megabytes_per_second") > 0.0, "{document}");
    for name in ["refused", "failed"] {
        assert_eq!(document[name], serde_json::json!({}), "{document}");
    }

    // Checked kinds take the same way; and a rollup that is not admitted is refused by name.
    let closed = ["load", "--rate", "max", "--in-flight", "2", "--hash-kind", "sha256", "--duration", "2s"];
    let document = dac.expect(closed).await?;
    assert!(number(&document, "certified") > 1.0, "{document}");
    let stranger = ["load", "--rollup", "0x2222222222222222222222222222222222222222", "--duration", "1s"];
    let output = dac.run(stranger).await?;
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("refused: UNKNOWN_ROLLUP: 1"), "{text}");
    Ok(())
}
