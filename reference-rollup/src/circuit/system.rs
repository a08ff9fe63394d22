//! Rank-1 constraints by hand: wires that know their value, so that a statement is written once and
//! read by everybody.
//!
//! A wire is a linear combination of variables together with its value. Adding wires costs nothing
//! but length: how many entries the matrices have is what proving time and memory follow, beside
//! the number of constraints. So the code that writes constraints says itself where a long sum
//! becomes a variable of its own ([`System::materialise`]).
//!
//! The structure never depends on values: setup runs over an empty batch, and a test compares the
//! matrices of different batches.

use std::collections::BTreeMap;
use std::ops::{Add, Mul, Neg, Sub};

use alloy_primitives::{B256, Keccak256};
use ark_bn254::Fr;
use ark_ff::{BigInteger, One, PrimeField, Zero};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use ark_relations::utils::matrix::Matrix;

/// A linear combination of variables, and its value.
#[derive(Clone, Debug)]
pub struct Wire {
    value: Fr,
    /// By variable, ascending, without zeros. Variable 0 is the constant one.
    terms: Vec<(u32, Fr)>,
}

impl Wire {
    /// Nothing.
    pub fn zero() -> Self {
        Self { value: Fr::zero(), terms: Vec::new() }
    }

    /// A constant of the circuit.
    pub fn constant(value: impl Into<Fr>) -> Self {
        Self::zero().plus(&Self { value: Fr::one(), terms: vec![(0, Fr::one())] }, value.into())
    }

    /// Its value.
    pub fn value(&self) -> Fr {
        self.value
    }

    /// Entries of its combination.
    pub fn weight(&self) -> usize {
        self.terms.len()
    }

    /// self + factor·other.
    pub fn plus(&self, other: &Self, factor: Fr) -> Self {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let term = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(&&(a, coefficient)), Some(&&(b, added))) if a == b => {
                    left.next();
                    right.next();
                    (a, coefficient + added * factor)
                }
                (Some(&&(a, _)), Some(&&(b, added))) if b < a => {
                    right.next();
                    (b, added * factor)
                }
                (Some(&&term), _) => {
                    left.next();
                    term
                }
                (None, Some(&&(b, added))) => {
                    right.next();
                    (b, added * factor)
                }
            };
            if !term.1.is_zero() {
                terms.push(term);
            }
        }
        Self { value: self.value + other.value * factor, terms }
    }

    /// factor·self.
    pub fn times(&self, factor: Fr) -> Self {
        Self::zero().plus(self, factor)
    }

    /// Σ factor·wire.
    pub fn sum<'a>(terms: impl IntoIterator<Item = (&'a Self, Fr)>) -> Self {
        let mut value = Fr::zero();
        let mut sum: BTreeMap<u32, Fr> = BTreeMap::new();
        for (wire, factor) in terms {
            value += wire.value * factor;
            for (variable, coefficient) in &wire.terms {
                *sum.entry(*variable).or_insert_with(Fr::zero) += *coefficient * factor;
            }
        }
        Self { value, terms: sum.into_iter().filter(|(_, coefficient)| !coefficient.is_zero()).collect() }
    }
}

impl Add for &Wire {
    type Output = Wire;

    fn add(self, other: Self) -> Wire {
        self.plus(other, Fr::one())
    }
}

impl Sub for &Wire {
    type Output = Wire;

    fn sub(self, other: Self) -> Wire {
        self.plus(other, -Fr::one())
    }
}

impl Neg for &Wire {
    type Output = Wire;

    fn neg(self) -> Wire {
        self.times(-Fr::one())
    }
}

impl Mul<Fr> for &Wire {
    type Output = Wire;

    fn mul(self, factor: Fr) -> Wire {
        self.times(factor)
    }
}

/// A wire that is known to be 0 or 1.
#[derive(Clone, Debug)]
pub struct Bit(Wire);

impl Bit {
    /// A constant of the circuit.
    pub fn constant(value: bool) -> Self {
        Self(Wire::constant(u8::from(value)))
    }

    /// As a number.
    pub fn wire(&self) -> &Wire {
        &self.0
    }

    /// Its value.
    pub fn value(&self) -> bool {
        self.0.value.is_one()
    }

    /// self ∨ other, of which at most one is set: the caller knows it.
    pub fn or_exclusive(&self, other: &Self) -> Self {
        Self(&self.0 + &other.0)
    }

    /// Returns whether it is 0 for all values.
    pub fn is_never(&self) -> bool {
        self.0.terms.is_empty()
    }

    /// 1 − self.
    pub fn not(&self) -> Self {
        Self(&Wire::constant(1_u8) - &self.0)
    }
}

/// Rows of one of the three matrices, one behind the other.
#[derive(Clone, Default, PartialEq, Eq)]
struct Rows {
    ends: Vec<usize>,
    terms: Vec<(u32, Fr)>,
}

impl Rows {
    fn push(&mut self, wire: &Wire) {
        self.terms.extend_from_slice(&wire.terms);
        self.ends.push(self.terms.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[(u32, Fr)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.terms[start..*end])
    }
}

/// What a circuit weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Constraints.
    pub constraints: usize,
    /// Variables, public inputs and the constant included.
    pub variables: usize,
    /// Entries of the three matrices that are not zero.
    pub entries: usize,
}

impl Sub for Weight {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            constraints: self.constraints - other.constraints,
            variables: self.variables - other.variables,
            entries: self.entries - other.entries,
        }
    }
}

/// Variables with their values, and constraints a·b = c over them.
pub struct System {
    values: Vec<Fr>,
    public: usize,
    a: Rows,
    b: Rows,
    c: Rows,
}

impl System {
    /// With these public inputs, in order.
    pub fn new(public: &[Fr]) -> (Self, Vec<Wire>) {
        let mut system = Self {
            values: vec![Fr::one()],
            public: public.len(),
            a: Rows::default(),
            b: Rows::default(),
            c: Rows::default(),
        };
        let inputs = public.iter().map(|value| system.variable(*value)).collect();
        (system, inputs)
    }

    /// What was written so far weighs.
    pub fn weight(&self) -> Weight {
        Weight {
            constraints: self.a.ends.len(),
            variables: self.values.len(),
            entries: self.a.terms.len() + self.b.terms.len() + self.c.terms.len(),
        }
    }

    /// A new private variable. Nothing binds it yet.
    pub fn variable(&mut self, value: Fr) -> Wire {
        let variable = u32::try_from(self.values.len()).expect("fewer than 2^32 variables");
        self.values.push(value);
        Wire { value, terms: vec![(variable, Fr::one())] }
    }

    /// a·b = c.
    pub fn enforce(&mut self, a: &Wire, b: &Wire, c: &Wire) {
        self.a.push(a);
        self.b.push(b);
        self.c.push(c);
    }

    /// a = b.
    pub fn equal(&mut self, a: &Wire, b: &Wire) {
        self.enforce(&(a - b), &Wire::constant(1_u8), &Wire::zero());
    }

    /// a·b.
    pub fn product(&mut self, a: &Wire, b: &Wire) -> Wire {
        let product = self.variable(a.value * b.value);
        self.enforce(a, b, &product);
        product
    }

    /// The same wire as a variable of its own: one constraint, so that what uses it stays short.
    pub fn materialise(&mut self, wire: &Wire) -> Wire {
        let variable = self.variable(wire.value);
        self.equal(wire, &variable);
        variable
    }

    /// A new bit.
    pub fn bit(&mut self, value: bool) -> Bit {
        let wire = self.variable(Fr::from(u8::from(value)));
        self.enforce(&wire, &(&wire - &Wire::constant(1_u8)), &Wire::zero());
        Bit(wire)
    }

    /// a ∧ b.
    pub fn and(&mut self, a: &Bit, b: &Bit) -> Bit {
        Bit(self.product(&a.0, &b.0))
    }

    /// `wire`'s lowest `count` bits, lowest first; the constraint says that there are no others.
    /// `count` must be below 254: then bits and wire determine each other.
    pub fn bits(&mut self, wire: &Wire, count: usize) -> Vec<Bit> {
        assert!(count < Fr::MODULUS_BIT_SIZE as usize, "more bits would not be unique");
        let bits = self.free_bits(wire.value, count);
        self.equal(&pack(&bits), wire);
        bits
    }

    /// All 254 bits of `wire` as an integer below the field's order.
    pub fn canonical_bits(&mut self, wire: &Wire) -> Vec<Bit> {
        let bits = self.free_bits(wire.value, Fr::MODULUS_BIT_SIZE as usize);
        self.equal(&pack(&bits), wire);
        self.below_order(&bits);
        bits
    }

    /// 254 bits, lowest first, that are an integer below the field's order.
    pub fn below_order(&mut self, bits: &[Bit]) {
        assert_eq!(bits.len(), Fr::MODULUS_BIT_SIZE as usize);
        // At most r − 1, from the top: as long as all of its ones have been met, its zeros must be
        // met too.
        let mut limit = Fr::MODULUS;
        limit.sub_with_borrow(&1_u8.into());
        let mut met = None;
        for (position, bit) in bits.iter().enumerate().rev() {
            met = match (limit.get_bit(position), met) {
                (true, None) => Some(bit.clone()),
                (true, Some(met)) => Some(self.and(&met, bit)),
                (false, Some(met)) => {
                    self.enforce(&met.0, &bit.0, &Wire::zero());
                    Some(met)
                }
                (false, None) => unreachable!("the order's highest bit is one"),
            };
        }
    }

    /// Bits of a value that nothing ties to it yet.
    pub(crate) fn free_bits(&mut self, value: Fr, count: usize) -> Vec<Bit> {
        let value = value.into_bigint();
        (0..count).map(|position| self.bit(value.get_bit(position))).collect()
    }

    /// condition → left, otherwise right.
    pub fn select(&mut self, condition: &Bit, left: &Wire, right: &Wire) -> Wire {
        &self.product(&condition.0, &(left - right)) + right
    }

    /// `flag` = 1 exactly where `wire` must not be zero; where flag = 0 nothing is said of the
    /// wire.
    pub fn nonzero_if(&mut self, wire: &Wire, flag: &Bit) {
        use ark_ff::Field;
        let inverse = if flag.value() { wire.value.inverse().unwrap_or_default() } else { Fr::zero() };
        let inverse = self.variable(inverse);
        self.enforce(wire, &inverse, &flag.0);
        // Nothing is left to choose where the flag is 0.
        self.enforce(&inverse, &flag.not().0, &Wire::zero());
    }

    /// Whether `wire` is zero.
    pub fn is_zero(&mut self, wire: &Wire) -> Bit {
        use ark_ff::Field;
        let zero = self.variable(Fr::from(u8::from(wire.value.is_zero())));
        let inverse = self.variable(wire.value.inverse().unwrap_or_default());
        // wire ≠ 0: the second says zero = 0, then the first fixes the inverse. wire = 0: the first
        // says zero = 1, the third inverse = 0.
        self.enforce(wire, &inverse, &(&Wire::constant(1_u8) - &zero));
        self.enforce(wire, &zero, &Wire::zero());
        self.enforce(&inverse, &zero, &Wire::zero());
        Bit(zero)
    }

    /// The first constraint that does not hold.
    pub fn unsatisfied(&self) -> Option<usize> {
        let rows = self.a.iter().zip(self.b.iter()).zip(self.c.iter());
        rows.enumerate().find_map(|(row, ((a, b), c))| {
            (self.evaluate(a) * self.evaluate(b) != self.evaluate(c)).then_some(row)
        })
    }

    /// Returns whether the matrices are the same, so that both state the same; values may differ.
    pub fn same_structure(&self, other: &Self) -> bool {
        self.public == other.public
            && self.values.len() == other.values.len()
            && self.a == other.a
            && self.b == other.b
            && self.c == other.c
    }

    /// A name for the matrices: keccak256 over all of them.
    pub fn structure_hash(&self) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update((self.public as u64).to_be_bytes());
        for rows in [&self.a, &self.b, &self.c] {
            for end in &rows.ends {
                hasher.update((*end as u64).to_be_bytes());
            }
            for (variable, coefficient) in &rows.terms {
                hasher.update(variable.to_be_bytes());
                for limb in coefficient.into_bigint().0 {
                    hasher.update(limb.to_be_bytes());
                }
            }
        }
        hasher.finalize()
    }

    fn evaluate(&self, row: &[(u32, Fr)]) -> Fr {
        row.iter().map(|(variable, coefficient)| self.values[*variable as usize] * coefficient).sum()
    }

    /// Number of public inputs.
    pub fn public_inputs(&self) -> usize {
        self.public
    }

    /// Values of all variables: the constant, the public inputs, then the private ones.
    pub fn assignment(&self) -> &[Fr] {
        &self.values
    }

    /// The three matrices as arkworks takes them.
    pub(crate) fn matrices(&self) -> Vec<Matrix<Fr>> {
        let matrix = |rows: &Rows| -> Matrix<Fr> {
            rows.iter()
                .map(|row| row.iter().map(|(variable, value)| (*value, *variable as usize)).collect())
                .collect()
        };
        vec![matrix(&self.a), matrix(&self.b), matrix(&self.c)]
    }

    /// Variables that can take another value, all others staying, without breaking a constraint.
    /// There must be none.
    pub fn free_variables(&self, delta: impl Fn(usize) -> Fr) -> Vec<usize> {
        let rows: Vec<_> = self.a.iter().zip(self.b.iter()).zip(self.c.iter()).collect();
        let products: Vec<_> =
            rows.iter().map(|((a, b), c)| (self.evaluate(a), self.evaluate(b), self.evaluate(c))).collect();
        // For each variable, the rows that name it.
        let mut named: Vec<Vec<u32>> = vec![Vec::new(); self.values.len()];
        for (row, ((a, b), c)) in rows.iter().enumerate() {
            for (variable, _) in a.iter().chain(b.iter()).chain(c.iter()) {
                let row = u32::try_from(row).expect("fewer than 2^32 constraints");
                if named[*variable as usize].last() != Some(&row) {
                    named[*variable as usize].push(row);
                }
            }
        }
        let coefficient = |row: &[(u32, Fr)], variable: usize| {
            row.binary_search_by_key(&variable, |(v, _)| *v as usize)
                .map_or(Fr::zero(), |position| row[position].1)
        };
        let breaks = |variable: usize| {
            let delta = delta(variable);
            named[variable].iter().any(|row| {
                let ((a, b), c) = rows[*row as usize];
                let (left, right, product) = products[*row as usize];
                (left + coefficient(a, variable) * delta) * (right + coefficient(b, variable) * delta)
                    != product + coefficient(c, variable) * delta
            })
        };
        (1..self.values.len()).filter(|variable| !breaks(*variable)).collect()
    }
}

/// Σ 2^i·bit_i.
pub fn pack(bits: &[Bit]) -> Wire {
    let mut power = Fr::one();
    let terms = bits.iter().map(|bit| {
        let factor = power;
        power += power;
        (&bit.0, factor)
    });
    Wire::sum(terms)
}

/// For arkworks' key generator.
impl ConstraintSynthesizer<Fr> for &System {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        for value in &self.values[1..=self.public] {
            let _variable = cs.new_input_variable(|| Ok(*value))?;
        }
        for value in &self.values[1 + self.public..] {
            let _variable = cs.new_witness_variable(|| Ok(*value))?;
        }
        let combination = |row: &[(u32, Fr)]| {
            LinearCombination(
                row.iter()
                    .map(|(variable, coefficient)| {
                        let variable = *variable as usize;
                        let variable = match variable {
                            0 => Variable::One,
                            v if v <= self.public => Variable::instance(v),
                            v => Variable::witness(v - 1 - self.public),
                        };
                        (*coefficient, variable)
                    })
                    .collect(),
            )
        };
        for ((a, b), c) in self.a.iter().zip(self.b.iter()).zip(self.c.iter()) {
            cs.enforce_r1cs_constraint(|| combination(a), || combination(b), || combination(c))?;
        }
        Ok(())
    }
}
