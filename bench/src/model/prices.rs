//! Prices in money. None of them was measured: these are assumptions, in one place, so that a
//! reader with better ones can replace them.

/// An assumed price or habit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumption {
    /// The thing that has this price.
    pub what: &'static str,
    /// The value, in `unit`.
    pub value: f64,
    /// The unit of the value.
    pub unit: &'static str,
}

/// The price of one core of a rented server.
pub const CORE: Assumption = Assumption { what: "a core", value: 0.03, unit: "USD an hour" };
/// The price of bytes that leave a provider's network; those that arrive cost nothing.
pub const TRAFFIC: Assumption = Assumption { what: "traffic that leaves", value: 0.01, unit: "USD a GB" };
/// The price of solid-state storage.
pub const STORAGE: Assumption = Assumption { what: "storage", value: 0.08, unit: "USD a GB and month" };
/// How long members keep a batch.
pub const RETENTION: Assumption = Assumption { what: "retention", value: 14.0, unit: "days" };
/// The price of a unit of gas.
pub const GAS: Assumption = Assumption { what: "gas", value: 1.0, unit: "gwei" };
/// The price of an ether, in which gas is paid.
pub const ETHER: Assumption = Assumption { what: "an ether", value: 3_000.0, unit: "USD" };

/// All assumptions, in the order of the page.
pub const ALL: [Assumption; 6] = [CORE, TRAFFIC, STORAGE, RETENTION, GAS, ETHER];
