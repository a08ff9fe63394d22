//! A model of a batch's cost as a function of seats and payload. It has few parameters, which are
//! fitted on some of the measured systems and checked against the others.
//!
//! | module | contents | |---|---| | [`fit`] | the fit by non-negative least squares of relative
//! errors | | [`prices`] | assumed prices in money | | [`scale`] | the model applied to a system
//! much larger than the measured ones |

pub mod fit;
pub mod prices;
pub mod scale;

use crate::named;
use crate::report::Figure;

/// A mebibyte.
pub const MIB: f64 = 1_048_576.0;
/// The numbers of seats of the systems that the model is fitted on. It is checked against all
/// others.
pub const FITTED_SEATS: [u16; 2] = [4, 16];

/// One kind of system: its seats, the shards that rebuild a batch, and the payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The number of seats.
    pub n: u16,
    /// The number of shards that rebuild a batch.
    pub k: u16,
    /// The size of a payload in MiB.
    pub payload_mib: f64,
}

/// A quantity with which the cost of a batch grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// A constant, which each batch costs.
    Batch,
    /// The number of seats.
    Seats,
    /// The square of the number of seats, because each member gets a hash for each seat.
    SeatsSquared,
    /// The MiB of the payload.
    Payload,
    /// The MiB of one shard.
    Shard,
    /// The MiB of all shards.
    Shards,
    /// The MiB that are sent: the payload and all shards.
    Sent,
}

impl Term {
    /// Returns the term's name on the page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "each batch",
            Self::Seats => "n",
            Self::SeatsSquared => "n²",
            Self::Payload => "payload MiB",
            Self::Shard => "payload MiB / k",
            Self::Shards => "payload MiB · n / k",
            Self::Sent => "payload MiB · (1 + n / k)",
        }
    }

    fn of(self, shape: Shape) -> f64 {
        let (n, k) = (f64::from(shape.n), f64::from(shape.k));
        match self {
            Self::Batch => 1.0,
            Self::Seats => n,
            Self::SeatsSquared => n * n,
            Self::Payload => shape.payload_mib,
            Self::Shard => shape.payload_mib / k,
            Self::Shards => shape.payload_mib * n / k,
            Self::Sent => shape.payload_mib * (1.0 + n / k),
        }
    }
}

/// A cost that the model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The CPU time of the aggregator, in milliseconds.
    AggregatorCpu,
    /// The CPU time of one member, in milliseconds.
    NodeCpu,
    /// The CPU time of the process that sends the load, in milliseconds. It is not part of the
    /// system, but runs on the same machine.
    SenderCpu,
    /// The MiB that the aggregator writes to its disk.
    AggregatorWrites,
    /// The MiB that a member writes to its disk.
    NodeWrites,
    /// The MiB that rollup, aggregator and members send to each other.
    Network,
}

impl Quantity {
    /// All quantities.
    pub const ALL: [Self; 6] = [
        Self::AggregatorCpu,
        Self::NodeCpu,
        Self::SenderCpu,
        Self::AggregatorWrites,
        Self::NodeWrites,
        Self::Network,
    ];

    /// Returns the name of the figure that measures the quantity per MiB of payload.
    pub const fn figure(self) -> &'static str {
        match self {
            Self::AggregatorCpu => "aggregator CPU",
            Self::NodeCpu => "node CPU",
            Self::SenderCpu => "load sender CPU",
            Self::AggregatorWrites => "aggregator writes",
            Self::NodeWrites => "node writes",
            Self::Network => "loopback bytes",
        }
    }

    /// Returns the unit of the quantity for one batch.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::AggregatorCpu | Self::NodeCpu | Self::SenderCpu => "ms",
            Self::AggregatorWrites | Self::NodeWrites | Self::Network => "MiB",
        }
    }

    /// Returns the terms with which the quantity grows.
    pub const fn terms(self) -> &'static [Term] {
        match self {
            Self::AggregatorCpu => &[Term::Batch, Term::Seats, Term::Payload, Term::Shards],
            // Hashing a record of n hashes takes very little compared with a signature and a
            // commit, so the number of seats is not a term.
            Self::NodeCpu | Self::NodeWrites => &[Term::Batch, Term::Shard],
            Self::SenderCpu => &[Term::Batch, Term::Payload],
            Self::AggregatorWrites => &[Term::Batch, Term::Seats, Term::Payload],
            Self::Network => &[Term::Batch, Term::SeatsSquared, Term::Sent],
        }
    }
}

/// A measured system.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The system's seats and payload.
    pub shape: Shape,
    /// The values per batch, in the order of [`Quantity::ALL`].
    pub measured: [f64; Quantity::ALL.len()],
    /// The measured capacity in payload MB/s.
    pub capacity: f64,
}

/// Returns every system on SQLite without TLS for which all figures exist.
#[allow(clippy::cast_precision_loss)] // Sizes far below 2^52.
pub fn points(figures: &[Figure]) -> Vec<Point> {
    let value = |n: u16, bytes: usize, what: &str| {
        named::all(figures)
            .find(|(name, _)| name.is_plain() && (name.n, name.bytes, name.what) == (n, bytes, what))
            .map(|(_, figure)| figure.value)
    };
    let measured = named::all(figures).filter(|(name, _)| name.is_plain() && name.what == "capacity");
    measured
        .filter_map(|(name, capacity)| {
            let payload_mib = name.bytes as f64 / MIB;
            let mut measured = [0.0; Quantity::ALL.len()];
            for (place, quantity) in measured.iter_mut().zip(Quantity::ALL) {
                *place = value(name.n, name.bytes, quantity.figure())? * payload_mib;
            }
            let shape = Shape { n: name.n, k: name.k, payload_mib };
            Some(Point { shape, measured, capacity: capacity.value })
        })
        .collect()
}

/// The fitted parameters of all quantities.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    parameters: [Vec<f64>; Quantity::ALL.len()],
}

impl Model {
    /// Fits the model. Returns `None` if there are fewer points than parameters.
    pub fn fit<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> Option<Self> {
        let mut parameters: [Vec<f64>; Quantity::ALL.len()] = Default::default();
        for (index, (place, quantity)) in parameters.iter_mut().zip(Quantity::ALL).enumerate() {
            let rows = points.clone().map(|point| {
                let terms = quantity.terms().iter().map(|term| term.of(point.shape)).collect();
                (terms, point.measured[index])
            });
            *place = fit::relative(&rows.collect::<Vec<_>>())?;
        }
        Some(Self { parameters })
    }

    /// Returns the quantity's terms, each with its fitted parameter.
    pub fn parameters(&self, quantity: Quantity) -> impl Iterator<Item = (Term, f64)> {
        quantity.terms().iter().copied().zip(self.parameters[quantity as usize].iter().copied())
    }

    /// Returns the predicted quantity for one batch.
    pub fn predict(&self, quantity: Quantity, shape: Shape) -> f64 {
        self.parameters(quantity).map(|(term, parameter)| term.of(shape) * parameter).sum()
    }

    /// Returns the payload MB/s at which all processes together keep this number of cores busy.
    pub fn rate_of_cores(&self, shape: Shape, cores: f64) -> f64 {
        let cpu = |quantity| self.predict(quantity, shape);
        let members = cpu(Quantity::NodeCpu) * f64::from(shape.n);
        let ms = cpu(Quantity::AggregatorCpu) + members + cpu(Quantity::SenderCpu);
        cores * 1e3 / ms * shape.payload_mib * MIB / 1e6
    }
}

/// Returns the model fitted on some of the points, and the points that were not used to fit it.
pub fn checked(points: &[Point]) -> Option<(Model, Vec<&Point>)> {
    let is_fitted = |point: &&Point| FITTED_SEATS.contains(&point.shape.n);
    let model = Model::fit(points.iter().filter(is_fitted))?;
    let others: Vec<&Point> = points.iter().filter(|point| !is_fitted(point)).collect();
    (!others.is_empty()).then_some((model, others))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Figures of systems that obey the model.
    pub(crate) fn figures() -> Vec<Figure> {
        let mut figures = Vec::new();
        for (n, k) in [(4_u16, 2_u16), (7, 3), (16, 6), (64, 22)] {
            for (size, mib) in [("64 KiB", 0.0625), ("1 MiB", 1.0), ("8 MiB", 8.0)] {
                let (seats, shard) = (f64::from(n), mib / f64::from(k));
                let mut push = |what: &str, per_batch: f64, unit: &str| {
                    let name = format!("system/{what}/n={n},k={k}/SQLite/plain/{size}");
                    figures.push(Figure::new(name, per_batch / mib, unit));
                };
                push("capacity", 50.0 * mib, "MB/s");
                push("aggregator CPU", 2.0 + 0.3 * seats + 4.0 * mib + 1.5 * shard * seats, "CPU ms/MiB");
                push("node CPU", 1.0 + 5.0 * shard, "CPU ms/MiB");
                push("load sender CPU", 0.5 + mib, "CPU ms/MiB");
                push("aggregator writes", 0.02 + 0.001 * seats + 2.0 * mib, "MiB/MiB");
                push("node writes", 0.03 + 2.0 * shard, "MiB/MiB");
                push("loopback bytes", 0.001 + 4e-5 * seats * seats + mib + shard * seats, "MiB/MiB");
            }
        }
        figures
    }

    #[test]
    fn a_model_fitted_on_some_systems_predicts_those_that_it_has_not_seen() {
        let points = points(&figures());
        assert_eq!(points.len(), 12);
        let (model, others) = checked(&points).unwrap();
        assert_eq!(others.len(), 6, "those with 7 and 64 seats");
        for point in others {
            for (index, quantity) in Quantity::ALL.into_iter().enumerate() {
                let (measured, predicted) = (point.measured[index], model.predict(quantity, point.shape));
                let error = (predicted / measured - 1.0).abs();
                assert!(error < 1e-6, "{quantity:?} of {:?}: {predicted} for {measured}", point.shape);
            }
        }
    }

    #[test]
    fn two_cores_are_busy_at_the_rate_that_their_work_allows() {
        let model = Model::fit(points(&figures()).iter()).unwrap();
        let shape = Shape { n: 4, k: 2, payload_mib: 1.0 };
        // A batch takes 2 + 1.2 + 4 + 3 ms of the aggregator, 1 + 2.5 ms of each of four members,
        // and 1.5 ms of the sender.
        let batches = 2e3 / (10.2 + 4.0 * 3.5 + 1.5);
        assert!((model.rate_of_cores(shape, 2.0) - batches * 1.048_576).abs() < 1e-6);
    }

    #[test]
    fn too_few_points_are_no_model() {
        let mut figures = figures();
        figures.truncate(7 * 2);
        assert_eq!(Model::fit(points(&figures).iter()), None);
        assert!(checked(&points(&figures)).is_none());
        assert!(points(&[]).is_empty());
    }
}
