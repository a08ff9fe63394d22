//! Extrapolates the model far beyond the measured systems: the demand of a large committee at a
//! high rate.

use super::prices;
use super::{MIB, Model, Quantity, Shape};
use crate::report::Figure;

/// The payload bytes to certify in a second.
pub const BYTES_PER_SECOND: f64 = 100e6;
/// The committee's number of seats.
pub const N: u16 = 256;
/// The number of shards that rebuild a batch.
pub const K: u16 = 86;
/// The number of absent seats in the certificates whose gas is counted: the most that a certificate
/// may have.
pub const ABSENT: u16 = 85;
/// The payloads in MiB, up to the largest that is allowed. Small payloads cost more of everything
/// for each byte.
pub const PAYLOADS_MIB: [f64; 4] = [1.0, 8.0, 32.0, 64.0];

const HOURS_A_MONTH: f64 = 730.0;
const SECONDS_AN_HOUR: f64 = 3_600.0;

/// A line of the page's table: a quantity, its unit, and its value for each payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The quantity's name.
    pub what: &'static str,
    /// The unit of the values.
    pub unit: &'static str,
    /// The value for each of [`PAYLOADS_MIB`].
    pub values: [f64; PAYLOADS_MIB.len()],
}

/// The demand with payloads of one size; `record_gas` is the gas of recording one certificate.
struct Demand {
    batches_per_second: f64,
    aggregator_cores: f64,
    member_cores: f64,
    /// Bytes a second that the aggregator sends to members.
    sent: f64,
    aggregator_writes: f64,
    member_writes: f64,
    /// Bytes a second that one member keeps.
    kept: f64,
    gas_per_second: f64,
}

impl Demand {
    fn of(model: &Model, payload_mib: f64, record_gas: f64) -> Self {
        let shape = Shape { n: N, k: K, payload_mib };
        let batches_per_second = BYTES_PER_SECOND / (payload_mib * MIB);
        let bytes = |quantity| model.predict(quantity, shape) * MIB * batches_per_second;
        let cores = |quantity| model.predict(quantity, shape) / 1e3 * batches_per_second;
        Self {
            batches_per_second,
            aggregator_cores: cores(Quantity::AggregatorCpu),
            member_cores: cores(Quantity::NodeCpu),
            // The network's bytes include the payload's way to the aggregator, which the aggregator
            // does not send.
            sent: bytes(Quantity::Network) - BYTES_PER_SECOND,
            aggregator_writes: bytes(Quantity::AggregatorWrites),
            member_writes: bytes(Quantity::NodeWrites),
            kept: BYTES_PER_SECOND / f64::from(K),
            gas_per_second: batches_per_second * record_gas,
        }
    }

    /// Returns the costs in USD an hour, in this order: cores, traffic, storage, L1.
    fn money(&self) -> [f64; 4] {
        let cores = self.aggregator_cores + self.member_cores * f64::from(N);
        let stored_gb = self.kept * f64::from(N) / 1e9 * SECONDS_AN_HOUR * prices::RETENTION.value * 24.0;
        [
            cores * prices::CORE.value,
            self.sent / 1e9 * SECONDS_AN_HOUR * prices::TRAFFIC.value,
            stored_gb * prices::STORAGE.value / HOURS_A_MONTH,
            self.gas_per_second * SECONDS_AN_HOUR * prices::GAS.value / 1e9 * prices::ETHER.value,
        ]
    }
}

/// Returns all lines, where recording a certificate costs `record_gas`.
pub fn lines(model: &Model, record_gas: f64) -> Vec<Line> {
    let demands = PAYLOADS_MIB.map(|payload| Demand::of(model, payload, record_gas));
    let line = |what, unit, value: &dyn Fn(&Demand) -> f64| Line {
        what,
        unit,
        values: std::array::from_fn(|index| value(&demands[index])),
    };
    let all = f64::from(N);
    let gb_an_hour = |bytes_per_second: f64| bytes_per_second / 1e9 * SECONDS_AN_HOUR;
    let gb_of_payload = gb_an_hour(BYTES_PER_SECOND);
    vec![
        line("batches, and commits of each member at most", "1/s", &|d| d.batches_per_second),
        line("aggregator: cores", "", &|d| d.aggregator_cores),
        line("aggregator: sends", "Gbit/s", &|d| d.sent * 8.0 / 1e9),
        line("aggregator: writes", "MB/s", &|d| d.aggregator_writes / 1e6),
        line("each member: cores", "", &|d| d.member_cores),
        line("each member: receives", "Mbit/s", &|d| d.sent / all * 8.0 / 1e6),
        line("each member: writes", "MB/s", &|d| d.member_writes / 1e6),
        line("each member: keeps, an hour of retention", "GB", &|d| gb_an_hour(d.kept)),
        line("all members: cores", "", &|d| d.member_cores * all),
        line("all members: keep, an hour of retention", "GB", &|d| gb_an_hour(d.kept) * all),
        line("L1, each batch recorded", "million gas/s", &|d| d.gas_per_second / 1e6),
        line("money: cores", "USD/h", &|d| d.money()[0]),
        line("money: traffic", "USD/h", &|d| d.money()[1]),
        line("money: storage, retention of all", "USD/h", &|d| d.money()[2]),
        line("money: L1", "USD/h", &|d| d.money()[3]),
        line("money without L1, a GB of payload", "USD", &|d| {
            d.money()[..3].iter().sum::<f64>() / gb_of_payload
        }),
        line("money, a GB of payload", "USD", &|d| d.money().iter().sum::<f64>() / gb_of_payload),
    ]
}

/// Returns the lines as figures of the report.
pub fn figures(lines: &[Line]) -> Vec<Figure> {
    let of_line = |line: &Line| {
        let name =
            |payload: f64| format!("scale/{}/n={N},k={K}, 100 MB/s, payloads of {payload} MiB", line.what);
        let unit = if line.unit.is_empty() { "cores" } else { line.unit };
        let figures = PAYLOADS_MIB.iter().zip(line.values);
        figures.map(|(payload, value)| Figure::new(name(*payload), value, unit)).collect::<Vec<_>>()
    };
    lines.iter().flat_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{points, tests::figures as measured};

    fn value(lines: &[Line], what: &str, payload_mib: f64) -> f64 {
        let line = lines.iter().find(|line| line.what == what).unwrap_or_else(|| panic!("{what}"));
        line.values[PAYLOADS_MIB.iter().position(|payload| (payload - payload_mib).abs() < 1e-9).unwrap()]
    }

    #[test]
    fn the_extrapolation_is_the_models_arithmetic() {
        let model = Model::fit(points(&measured()).iter()).unwrap();
        let lines = lines(&model, 300_000.0);
        let batches = 100e6 / (8.0 * MIB);
        let near = |what: &str, expected: f64| {
            let got = value(&lines, what, 8.0);
            assert!((got / expected - 1.0).abs() < 1e-6, "{what}: {got} for {expected}");
        };
        near("batches, and commits of each member at most", batches);
        let shard = 8.0 / 86.0;
        near("each member: cores", batches * (1.0 + 5.0 * shard) / 1e3);
        near("aggregator: cores", batches * (2.0 + 76.8 + 32.0 + 1.5 * shard * 256.0) / 1e3);
        near("all members: keep, an hour of retention", 100e6 * 256.0 / 86.0 * 3600.0 / 1e9);
        near("L1, each batch recorded", batches * 0.3);
        near("money: L1", batches * 300_000.0 * 3600.0 / 1e9 * 3000.0);
        // Members receive n / k times the payload in shards, and one record each.
        let sent = 100e6 * 256.0 / 86.0 + batches * MIB * (0.001 + 4e-5 * 256.0 * 256.0);
        near("aggregator: sends", sent * 8.0 / 1e9);
    }

    #[test]
    fn larger_payloads_are_cheaper() {
        let model = Model::fit(points(&measured()).iter()).unwrap();
        for line in lines(&model, 300_000.0) {
            assert!(line.values.windows(2).all(|pair| pair[1] <= pair[0]), "{line:?}");
            assert!(line.values.iter().all(|value| *value > 0.0), "{line:?}");
        }
        assert_eq!(figures(&lines(&model, 1.0)).len(), 17 * PAYLOADS_MIB.len());
    }
}
