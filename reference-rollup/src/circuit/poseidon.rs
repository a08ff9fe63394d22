//! Poseidon in the circuit.
//!
//! An S-box is three constraints. In the partial rounds only one lane goes through it, and the
//! other lanes grow by a term a round: they are materialised every now and then, which costs a few
//! constraints and saves most of the entries.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ark_bn254::Fr;
use light_poseidon::PoseidonParameters;
use light_poseidon::parameters::bn254_x5::get_poseidon_parameters;

use crate::circuit::system::{System, Wire};

/// Longest sum that a lane is allowed to be when it enters a partial round.
const LANE_MAX_TERMS: usize = 20;
/// Inputs that this circuit hashes at once, at most.
const INPUTS_MAX: u8 = 8;

/// Constants for each width that the circuit uses.
static PARAMETERS: LazyLock<BTreeMap<usize, PoseidonParameters<Fr>>> = LazyLock::new(|| {
    (2..=INPUTS_MAX + 1)
        .map(|width| {
            let parameters = get_poseidon_parameters(width).expect("widths 2 to 13 are known");
            (usize::from(width), parameters)
        })
        .collect()
});

/// The hash of 1 to 8 wires.
pub fn hash(system: &mut System, inputs: &[&Wire]) -> Wire {
    let parameters = &PARAMETERS[&(inputs.len() + 1)];
    let half = parameters.full_rounds / 2;
    let partial = half..half + parameters.partial_rounds;
    let mut lanes = vec![Wire::zero()];
    lanes.extend(inputs.iter().map(|input| (*input).clone()));
    for round in 0..parameters.full_rounds + parameters.partial_rounds {
        let constants = &parameters.ark[round * parameters.width..][..parameters.width];
        for (lane, constant) in lanes.iter_mut().zip(constants) {
            *lane = &*lane + &Wire::constant(*constant);
        }
        if partial.contains(&round) {
            if lanes[0].weight() > LANE_MAX_TERMS {
                lanes = lanes.iter().map(|lane| system.materialise(lane)).collect();
            }
            lanes[0] = fifth_power(system, &lanes[0]);
        } else {
            lanes = lanes.iter().map(|lane| fifth_power(system, lane)).collect();
        }
        lanes = parameters.mds.iter().map(|row| Wire::sum(lanes.iter().zip(row.iter().copied()))).collect();
    }
    let digest = lanes.swap_remove(0);
    // The digest goes into further hashes, selections and comparisons: short from here on.
    if digest.weight() > 1 { system.materialise(&digest) } else { digest }
}

fn fifth_power(system: &mut System, wire: &Wire) -> Wire {
    let square = system.product(wire, wire);
    let fourth = system.product(&square, &square);
    system.product(&fourth, wire)
}
